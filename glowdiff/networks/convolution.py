"""The 3x3 convolution of the networks, as CPUs do it fast: at 2x2 pixels, and in its kernel's gradient."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from glowdiff.networks.shards import in_shards

_CACHE = 2**20  # bytes of an output's gradient that XLA still turns round within a CPU's cache
_PARTS = 16  # at most, for each is compiled


def convolve(
    x: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Sequence[tuple[int, int]], **options: Any
) -> jax.Array:
    """`jax.lax.conv_general_dilated` of images [B, H, W, C] and a kernel [3, 3, C, D], padded by one pixel.

    At 2x2 pixels every pixel meets every other one, and the convolution is one matrix product, from all pixels to all
    pixels, without any padding to multiply. On a CPU that is ten times as fast as XLA's convolution, which knows no
    better; networks for small images spend half their time there.
    """
    height, width = x.shape[1:3]
    if max(height, width) > 2 or set(strides) != {1} or any(pad != (1, 1) for pad in padding):
        if in_shards():  # whose policies tell by `custom_vjp` what is gathered; no CPU trains what needs them
            return jax.lax.conv_general_dilated(x, kernel, strides, padding, **options)
        return _convolve(x, kernel, (tuple(strides), tuple(padding), tuple(options.items())))
    pixels = [(i, j) for i in range(height) for j in range(width)]
    # What the pixel (i, j) of the output takes of all pixels: the kernel is centred on it.
    seen = [kernel[1 - i : 1 - i + height, 1 - j : 1 - j + width].reshape(-1, kernel.shape[-1]) for i, j in pixels]
    flat = x.reshape(x.shape[0], -1)
    return jnp.matmul(flat, jnp.concatenate(seen, -1), precision=options.get("precision")).reshape(*x.shape[:3], -1)


_Arguments = tuple[tuple[int, ...], tuple[tuple[int, int], ...], tuple[tuple[str, Any], ...]]


def _plain(arguments: _Arguments, x: jax.Array, kernel: jax.Array) -> jax.Array:
    strides, padding, options = arguments
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, **dict(options))


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve(x: jax.Array, kernel: jax.Array, arguments: _Arguments) -> jax.Array:
    """A convolution whose kernel's gradient a CPU sums over parts of the batch.

    XLA has the batch and the channels change places for it, and where that does not fit the cache it is two to four
    times as slow as the convolution itself: 8 images of 32x32 pixels and 128 channels run at 32 GFLOP/s, four pairs of
    them at 111. Other devices do as they always did.
    """
    return _plain(arguments, x, kernel)


def _forward(x: jax.Array, kernel: jax.Array, arguments: _Arguments) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _plain(arguments, x, kernel), (x, kernel)


def _backward(
    arguments: _Arguments, residuals: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals

    def whole(x: jax.Array, gradient: jax.Array) -> jax.Array:
        return jax.linear_transpose(partial(_plain, arguments, x), kernel)(gradient)[0]

    def in_parts(x: jax.Array, gradient: jax.Array) -> jax.Array:
        return sum(map(whole, jnp.array_split(x, parts), jnp.array_split(gradient, parts)), jnp.zeros_like(kernel))

    to_x = jax.linear_transpose(lambda x: _plain(arguments, x, kernel), x)(gradient)[0]
    parts = min(-(-gradient.size * gradient.dtype.itemsize // _CACHE), x.shape[0], _PARTS)
    if parts == 1:
        return to_x, whole(x, gradient)
    return to_x, jax.lax.platform_dependent(x, gradient, cpu=in_parts, default=whole)


_convolve.defvjp(_forward, _backward)
