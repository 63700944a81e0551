"""Normalizing flows: exact likelihoods through invertible networks."""
