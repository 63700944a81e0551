"""Activation normalisation: an affine map per channel, initialised from data (Glow, section 3.1)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from glowdiff.flows.numerics import per_channel, promote

LOG_SCALE_FACTOR = 3.0  # scales are exp(3 logs), as in the original: a learning rate three times larger for them


class ActNorm(nn.Module):
    """`y = (x + bias) * exp(3 logs)`, whose output has zero mean and unit variance on the initialising batch.

    Attributes:
      dtype: of the arithmetic; None computes in at least float32, as a likelihood needs.
      param_dtype: of the parameters and of the statistics that initialise them.
    """

    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, inverse: bool = False) -> tuple[jax.Array, jax.Array]:
        """Map x [B, ..., C]; return it with its log-determinant [B]."""
        channels, axes = x.shape[-1], tuple(range(x.ndim - 1))

        def negative_mean(_: jax.Array) -> jax.Array:
            return -promote(x).mean(axes).astype(self.param_dtype)

        bias = self.param("bias", negative_mean)

        def inverse_deviation(_: jax.Array) -> jax.Array:
            deviation = jnp.sqrt(jnp.square(promote(x) + per_channel(bias, x)).mean(axes))
            return (-jnp.log(deviation + 1e-6) / LOG_SCALE_FACTOR).astype(self.param_dtype)

        logs = self.param("logs", inverse_deviation)
        pixels = x.size // (x.shape[0] * channels)
        log_scale = LOG_SCALE_FACTOR * logs
        logdet = jnp.full(x.shape[:1], promote(log_scale).sum() * pixels)
        if self.dtype is None:
            x, scale_dtype = promote(x), jnp.promote_types(x.dtype, jnp.float32)
        else:
            x, scale_dtype = x.astype(self.dtype), self.dtype
        scale = per_channel(jnp.exp(log_scale).astype(scale_dtype), x)
        bias = per_channel(bias.astype(scale_dtype), x)
        if inverse:
            return x / scale - bias, -logdet
        return (x + bias) * scale, logdet
