"""Between pixel values 0 ... levels - 1 and the [-1, 1] that diffusion works in."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike


def to_unit(image: jax.Array, levels: int, dtype: DTypeLike = jnp.float32) -> jax.Array:
    """Integers as floats in [-1, 1]: 2 image / (levels - 1) - 1."""
    return image.astype(dtype) * (2 / (levels - 1)) - 1


def to_levels(x: jax.Array, levels: int) -> jax.Array:
    """Floats as the nearest integers, uint8; what lies outside [-1, 1] becomes black or white."""
    return jnp.clip(jnp.round((x + 1) * ((levels - 1) / 2)), 0, levels - 1).astype(jnp.uint8)


def shrink(x: jax.Array, side: int) -> jax.Array:
    """Images [B, H, W, C], square, resized to `side` by averaging areas; `side` divides theirs."""
    batch, height, width, channels = x.shape
    blocks = x.reshape(batch, side, height // side, side, width // side, channels)
    return blocks.mean((2, 4))
