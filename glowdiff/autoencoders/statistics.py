"""How far latents deviate from 0 while an autoencoder is trained, for the scale at which others work in them."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

_LEAST = 0.01  # share of the newest batch in moving averages, once there have been a hundred


class LatentStatistics(NamedTuple):
    """Moving averages over the batches of training."""

    mean: jax.Array  # of all numbers of the latents,
    square: jax.Array  # and of their squares
    batches: jax.Array  # int32: how many there have been


def no_statistics(dtype: jnp.dtype) -> LatentStatistics:
    """The statistics before training."""
    return LatentStatistics(jnp.zeros((), dtype), jnp.zeros((), dtype), jnp.zeros((), jnp.int32))


def moved(statistics: LatentStatistics, z: jax.Array) -> LatentStatistics:
    """The statistics after the latents of another batch, as they were drawn."""
    z = jax.lax.stop_gradient(z)
    share = jnp.maximum(1 / (statistics.batches + 1.0), _LEAST).astype(statistics.mean.dtype)

    def after(average: jax.Array, newest: jax.Array) -> jax.Array:
        return average + share * (newest - average)

    mean, square = after(statistics.mean, z.mean()), after(statistics.square, (z**2).mean())
    return LatentStatistics(mean, square, statistics.batches + 1)


def unit_scale(statistics: LatentStatistics) -> jax.Array:
    """What makes the standard deviation of all numbers 1 (Rombach et al., 2022, appendix G); 1 before training."""
    variance = statistics.square - statistics.mean**2
    return jnp.where(variance > 0, jax.lax.rsqrt(jnp.where(variance > 0, variance, 1)), 1)
