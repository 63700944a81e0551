"""Trading space for channels (RealNVP, section 3.6)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

_DIAGONAL_FIRST = (0, 3, 1, 2)  # offsets 2dh + dw: both diagonal neighbours, then the two others


def squeeze(x: jax.Array) -> jax.Array:
    """[B, H, W, C] -> [B, H/2, W/2, 4C]; channel c at offset (dh, dw) goes to index 4c + 2dh + dw."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // 2, 2, w // 2, 2, c)
    return x.transpose(0, 1, 3, 5, 2, 4).reshape(b, h // 2, w // 2, 4 * c)


def unsqueeze(x: jax.Array) -> jax.Array:
    """[B, H, W, 4C] -> [B, 2H, 2W, C], the inverse of `squeeze`."""
    b, h, w, c = x.shape
    x = x.reshape(b, h, w, c // 4, 2, 2)
    return x.transpose(0, 1, 4, 2, 5, 3).reshape(b, 2 * h, 2 * w, c // 4)


def squeeze_ordered(x: jax.Array) -> jax.Array:
    """`squeeze` whose channels come offset by offset, [(0, 0), (1, 1), (0, 1), (1, 0)] x C.

    Halving them then takes one colour of a checkerboard away and leaves the other (RealNVP, section 3.6).
    """
    y = squeeze(x)
    b, h, w, c = y.shape
    y = y.reshape(b, h, w, c // 4, 4)[..., jnp.array(_DIAGONAL_FIRST)]
    return y.swapaxes(-1, -2).reshape(b, h, w, c)


def unsqueeze_ordered(y: jax.Array) -> jax.Array:
    """The inverse of `squeeze_ordered`."""
    b, h, w, c = y.shape
    y = y.reshape(b, h, w, 4, c // 4).swapaxes(-1, -2)
    back = jnp.argsort(jnp.array(_DIAGONAL_FIRST))
    return unsqueeze(y[..., back].reshape(b, h, w, c))
