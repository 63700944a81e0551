"""Autoencoders, whose latents other models work in: their losses, their configuration, their Method."""
