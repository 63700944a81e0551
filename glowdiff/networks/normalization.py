"""Group normalisation by sums over the pixels of each channel."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn


class GroupNorm(nn.Module):
    """Normalises groups of channels over all pixels (Wu & He, 2018), with the parameters of `nn.GroupNorm`.

    Statistics are sums over the pixels of each channel, [B, C], and only these are put together to groups. Regrouping
    the image instead, as Flax does, costs a CPU two to four times as much. An image of bfloat16 is summed together with
    its squares, in one pass: float32 holds the square of every such number exactly. Of float32 images the mean is
    subtracted first, for in one pass digits would be lost.

    Attributes:
      groups: of channels, as many in each.
      epsilon: added to the variance.
      dtype: of the computation and of what is returned.
      param_dtype: of scale and bias.
    """

    groups: int
    epsilon: float = 1e-5
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, ..., C] -> the same."""
        batch, channels = x.shape[0], x.shape[-1]
        pixels = tuple(range(1, x.ndim - 1))
        scale = self.param("scale", nn.initializers.ones, (channels,), self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, (channels,), self.param_dtype)
        scale, bias = (jnp.expand_dims(each.astype(self.dtype), (0, *pixels)) for each in (scale, bias))

        def mean(values: jax.Array) -> jax.Array:
            """Of each group, for each of its channels: [B, ..., C] -> [B, 1 ..., C]."""
            by_group = values.mean(pixels).reshape(batch, self.groups, -1).mean(-1, keepdims=True)
            by_channel = jnp.broadcast_to(by_group, (batch, self.groups, channels // self.groups))
            return by_channel.reshape(batch, *(1 for _ in pixels), channels)

        half = jnp.finfo(x.dtype).bits < jnp.finfo(self.dtype).bits
        x = x.astype(self.dtype)
        centre = mean(x)
        if half:
            variance = jnp.maximum(mean(jnp.square(x)) - jnp.square(centre), 0)
        else:
            # The variance does not change with the centre, so no gradient need be summed for it.
            variance = mean(jnp.square(x - jax.lax.stop_gradient(centre)))
        slope = jax.lax.rsqrt(variance + self.epsilon) * scale
        return x * slope + (bias - centre * slope) if half else (x - centre) * slope + bias
