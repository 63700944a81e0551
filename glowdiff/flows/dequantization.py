"""Between integer pixels and the continuous densities of flows (Theis et al., 2016, arXiv:1511.01844, section 3.1)."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp


def dequantize(x: jax.Array, noise: jax.Array, bins: int, coarsen: int = 1) -> jax.Array:
    """Spread integer pixels over their bins, in at least float32.

    Args:
      x: integers 0 ... bins * coarsen - 1.
      noise: in [0, 1 / bins), of the same shape: where in its bin each pixel lies.
      bins: number of bins; they fill [-0.5, 0.5).
      coarsen: neighbouring pixel values that share a bin.

    Returns:
      Numbers in [-0.5, 0.5), of the same shape.
    """
    dtype = jnp.promote_types(noise.dtype, jnp.float32)
    return (x // coarsen).astype(dtype) / bins - 0.5 + noise.astype(dtype)


def quantize(y: jax.Array, bins: int, coarsen: int = 1) -> jax.Array:
    """The uint8 pixels whose bins hold `y`, the inverse of `dequantize`; values beyond the bins go to the ends."""
    return (jnp.clip(jnp.floor((y + 0.5) * bins), 0, bins - 1) * coarsen).astype(jnp.uint8)


def levels_of(y: jax.Array, bins: int, coarsen: int = 1) -> jax.Array:
    """Dequantised pixels `y` on the scale of integer ones, unrounded: the middle of a bin is its integer."""
    return ((y + 0.5) * bins - 0.5) * coarsen


def bits_per_dim(log_likelihood: jax.Array, shape: tuple[int, ...], bins: int) -> jax.Array:
    """Bits per dimension of images of `shape` (H, W, C) from the log density of their dequantised form [B]."""
    dimensions = math.prod(shape)
    return (math.log(bins) - log_likelihood / dimensions) / math.log(2)
