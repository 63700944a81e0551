"""What a network is told beside the image: the time."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from glowdiff.networks.blocks import dense


def sinusoids(t: jax.Array, channels: int, longest: float = 10_000.0) -> jax.Array:
    """Cosines, then sines, of t at frequencies from 1 down to 1/longest: [B] -> [B, channels]; channels are even."""
    half = channels // 2
    frequencies = np.exp(-math.log(longest) * np.arange(half) / half).astype(np.float32)
    phases = t[:, None] * frequencies[None]
    return jnp.concatenate([jnp.cos(phases), jnp.sin(phases)], -1)


class TimeEmbedding(nn.Module):
    """Sinusoids of the time, and two layers on them.

    Attributes:
      channels: of the network's first level; four times as many describe the time.
    """

    channels: int
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, t: jax.Array) -> jax.Array:
        """The time that the network is given, [B] -> [B, 4 channels]."""
        h = sinusoids(t, self.channels)
        h = nn.silu(dense(4 * self.channels, self.dtype, self.param_dtype, "dense_0")(h))
        return dense(4 * self.channels, self.dtype, self.param_dtype, "dense_1")(h)
