"""Learned Gaussian priors, as bijections that whiten what they model (Glow, section 2 and appendix B).

A Gaussian with mean and log-deviation that depend on a context is the bijection `eps = (z - mean) exp(-log_sd)` in
front of a standard normal. Seen so, every latent of a flow is white noise, and its likelihood is one sum over all eps.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from glowdiff.flows.nets import EdgeBias, ScaledBias, ZeroConv3x3, add_edge
from glowdiff.flows.numerics import HIGHEST, promote, sum_per_example


def whiten(z: jax.Array, mean: jax.Array, log_sd: jax.Array, inverse: bool) -> tuple[jax.Array, jax.Array]:
    """Z -> eps (or back, if `inverse`), with the log-determinant [B]."""
    mean, log_sd = jnp.broadcast_to(mean, z.shape), jnp.broadcast_to(log_sd, z.shape)
    if inverse:
        return z * jnp.exp(log_sd) + mean, sum_per_example(log_sd)
    return (z - mean) * jnp.exp(-log_sd), -sum_per_example(log_sd)


class SplitPrior(nn.Module):
    """The Gaussian of the channels that leave, given those that stay."""

    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, stay: jax.Array, leave: jax.Array, inverse: bool = False) -> tuple[jax.Array, jax.Array]:
        """Whiten (or colour) `leave` [B, H, W, C] given `stay` [B, H, W, C]; with the log-determinant [B]."""
        stay = promote(stay)
        h = ZeroConv3x3(2 * leave.shape[-1], stay.dtype, self.param_dtype, HIGHEST, name="conv")(stay)
        return whiten(leave, h[..., 0::2], h[..., 1::2], inverse)


class TopPrior(nn.Module):
    """The Gaussian of the last latent: standard, learned, and shifted by a class.

    Attributes:
      learned: mean and log-deviation are learned, one per channel and more towards the edge.
      classes: number of classes that add their own mean and log-deviation; 0: none.
    """

    learned: bool
    classes: int = 0
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: jax.Array, label: jax.Array | None, inverse: bool = False) -> tuple[jax.Array, jax.Array]:
        """Whiten (or colour) z [B, H, W, C] given label int32 [B]; with the log-determinant [B]."""
        _, height, width, channels = z.shape
        kinds = {"dtype": z.dtype, "param_dtype": self.param_dtype}
        h = jnp.zeros((1, 1, 1, 2 * channels), z.dtype)
        if self.learned:
            # The original convolves an image of zeros: of its kernel only the edge's part ever acts.
            zeros = nn.initializers.zeros
            edge = EdgeBias(2 * channels, zeros, **kinds, precision=HIGHEST, name="edge")(height, width)
            everywhere = add_edge(jnp.zeros((1, height, width, 2 * channels), z.dtype), edge)
            h = h + ScaledBias(**kinds, name="output")(everywhere)
        if self.classes:
            table = self.param("label_kernel", nn.initializers.zeros, (self.classes, 2 * channels), self.param_dtype)
            h = h + ScaledBias(**kinds, name="label")(table.astype(z.dtype)[label])[:, None, None, :]
        mean, log_sd = jnp.split(h, 2, axis=-1)
        return whiten(z, mean, log_sd, inverse)
