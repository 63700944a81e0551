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
      net: a module: z1 [..., C/2] -> h [..., C/2], or [..., C] with shift and scale interleaved if affine.
    """

    kind: str
    net: nn.Module

    def __call__(self, x: jax.Array, inverse: bool = False, h: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        """Map x [B, ..., C]; return it with its log-determinant [B].

        An odd channel stays with the first half. `h` is given where the net has been evaluated already.
        """
        x = promote(x)
        z1, z2 = jnp.split(x, [(x.shape[-1] + 1) // 2], axis=-1)
        h = promote(self.net(z1) if h is None else h).astype(x.dtype)
        if self.kind == "additive":
            z2 = z2 - h if inverse else z2 + h
            logdet = jnp.zeros(x.shape[:1], x.dtype)
        else:
            shift, raw_scale = h[..., 0::2], h[..., 1::2] + 2.0
            log_scale = jax.nn.log_sigmoid(raw_scale)
            z2 = z2 * jnp.exp(-log_scale) - shift if inverse else (z2 + shift) * jnp.exp(log_scale)
            logdet = sum_per_example(log_scale)
        return jnp.concatenate([z1, z2], axis=-1), -logdet if inverse else logdet
