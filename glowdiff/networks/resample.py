"""Halving and doubling an image's sides, and bringing a small image to the size of a large one."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def downsample(x: jax.Array) -> jax.Array:
    """The means of 2x2 pixels: [B, H, W, C] -> [B, H/2, W/2, C]. H and W are even."""
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))


def upsample(x: jax.Array) -> jax.Array:
    """Every pixel four times: [B, H, W, C] -> [B, 2H, 2W, C]."""
    b, h, w, c = x.shape
    return jnp.broadcast_to(x[:, :, None, :, None, :], (b, h, 2, w, 2, c)).reshape(b, 2 * h, 2 * w, c)


def resize_to(x: jax.Array, height: int, width: int) -> jax.Array:
    """Bilinear with half-pixel centres, edges repeated: [B, h, w, C] -> [B, height, width, C]."""
    return jax.image.resize(x, (x.shape[0], height, width, x.shape[-1]), "bilinear", antialias=False)
