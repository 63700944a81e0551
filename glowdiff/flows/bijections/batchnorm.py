"""Batch normalisation as a bijection (RealNVP, section 3.7)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from glowdiff.flows.numerics import per_channel, promote

EPSILON = 1e-4


class BatchNorm(nn.Module):
    """`y = (x - mean) / sqrt(var + 1e-4)` per channel; log-determinant -1/2 log(var + 1e-4) for every entry.

    The statistics are the collection "batch_stats". In evaluation they are used as they are, and the layer is a
    bijection. In training they are the batch's, which take the collection's place; averaging them over steps is left
    to whoever holds the old ones (see `glowdiff.flows.method`). At initialisation they are the initialising batch's.
    """

    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, inverse: bool = False, train: bool = False, mask: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Map x [B, H, W, C]; return it with its log-determinant [B].

        Args:
          x: in at least float32 from here on.
          inverse: from y to x; in evaluation only, since the batch of x is what one looks for.
          train: use the batch's statistics, and leave them in the collection.
          mask: bool [1, H, W, 1] where a part of the image is normalised by itself; elsewhere x stays as it is.
        """
        x = promote(x)
        if mask is None:
            mask = jnp.ones((1, *x.shape[1:3], 1), bool)
        mean = self.variable("batch_stats", "mean", lambda: _mean(x, mask).astype(self.param_dtype))
        var = self.variable("batch_stats", "var", lambda: _var(x, mask).astype(self.param_dtype))
        if train:
            now = _mean(x, mask), _var(x, mask)
            if not self.is_initializing() and self.is_mutable_collection("batch_stats"):
                mean.value, var.value = (value.astype(self.param_dtype) for value in now)
        else:
            now = promote(mean.value), promote(var.value)
        center, log_scale = now[0], -0.5 * jnp.log(now[1] + EPSILON)
        entries = mask.sum().astype(x.dtype)
        logdet = jnp.full(x.shape[:1], log_scale.sum().astype(x.dtype) * entries)
        center, scale = per_channel(center, x).astype(x.dtype), per_channel(jnp.exp(log_scale), x).astype(x.dtype)
        if inverse:
            return jnp.where(mask, x / scale + center, x), -logdet
        return jnp.where(mask, (x - center) * scale, x), logdet


def _mean(x: jax.Array, mask: jax.Array) -> jax.Array:
    """Per-channel mean [C] of the masked entries of x [B, H, W, C]; 0 where there are none (a board of one square)."""
    return jnp.where(mask, x, 0).sum((0, 1, 2)) / jnp.maximum(x.shape[0] * mask.sum(), 1)


def _var(x: jax.Array, mask: jax.Array) -> jax.Array:
    """Per-channel variance [C] of the masked entries of x [B, H, W, C]."""
    return _mean(jnp.square(x - per_channel(_mean(x, mask), x)), mask)
