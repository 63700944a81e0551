"""The densities that flows map images to: independent noise, standard normal or (NICE, section 3.4) logistic."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from glowdiff.flows.numerics import sum_per_example

KINDS = ("normal", "logistic")


def log_prob(kind: str, latents: Iterable[jax.Array]) -> jax.Array:
    """Log-density of latents, arrays [B, ...]: [B]."""
    density = _logistic if kind == "logistic" else _normal
    return jnp.stack([sum_per_example(density(z)) for z in latents]).sum(0)


def draw(kind: str, key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Noise of that density."""
    return (jax.random.logistic if kind == "logistic" else jax.random.normal)(key, shape, dtype)


def _logistic(z: jax.Array) -> jax.Array:
    return -jax.nn.softplus(z) - jax.nn.softplus(-z)


def _normal(z: jax.Array) -> jax.Array:
    return -0.5 * (z**2 + math.log(2 * math.pi))
