"""Couplings: one half of the channels, unchanged, moves and scales the other (NICE; RealNVP; Glow, table 1)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from glowdiff.flows.numerics import promote, sum_per_example

KINDS = ("additive", "affine")


class Coupling(nn.Module):
    """Additive: `z2 + h`. Affine: `(z2 + shift) * scale` with scale = sigmoid(h + 2), so bounded.

    Attributes:
      kind: additive | affine.
      net: a module: z1 [B, H, W, C/2] -> h [B, H, W, C/2], or [B, H, W, C] with shift and scale interleaved if affine.
    """

    kind: str
    net: nn.Module

    def __call__(self, x: jax.Array, inverse: bool = False) -> tuple[jax.Array, jax.Array]:
        """Map x [B, H, W, C], C even; return it with its log-determinant [B]."""
        x = promote(x)
        z1, z2 = jnp.split(x, 2, axis=-1)
        h = self.net(z1).astype(x.dtype)
        if self.kind == "additive":
            z2 = z2 - h if inverse else z2 + h
            logdet = jnp.zeros(x.shape[:1], x.dtype)
        else:
            shift, raw_scale = h[..., 0::2], h[..., 1::2] + 2.0
            log_scale = jax.nn.log_sigmoid(raw_scale)
            z2 = z2 * jnp.exp(-log_scale) - shift if inverse else (z2 + shift) * jnp.exp(log_scale)
            logdet = sum_per_example(log_scale)
        return jnp.concatenate([z1, z2], axis=-1), -logdet if inverse else logdet
