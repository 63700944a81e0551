"""Attention of pixels to each other and to a context, as latent diffusion models have it (Rombach et al., 2022)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from glowdiff.networks.attention import attend
from glowdiff.networks.blocks import dense, group_norm
from glowdiff.networks.recomputation import narrow
from glowdiff.networks.transformer import layer_norm
from glowdiff.sharding import Platform


class SpatialTransformer(nn.Module):
    """Transformer blocks on the pixels of an image, with a residual connection.

    What stands around the blocks is linear; the originals have it as convolutions over one pixel (SD 1) or as matrices
    (SD 2), which is the same function.

    Attributes:
      heads: of each attention; they divide the channels.
      depth: blocks.
      cross_only: pixels attend to the context alone, in both attentions of a block.
      platform: what is compiled for, see `attend`.
      dtype: of the matrix products. Norms and softmax are float32, or wider.
    """

    heads: int
    depth: int = 1
    cross_only: bool = False
    platform: Platform | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, context: jax.Array | None = None) -> jax.Array:
        """[B, H, W, C], and a context [B, T, E] -> [B, H, W, C]; without a context pixels attend to each other."""
        b, height, width, c = x.shape
        kinds = (self.dtype, self.param_dtype)
        norm = group_norm(*kinds, name="norm", epsilon=1e-6)  # not that of residual blocks, 1e-5
        h = narrow(norm(x), self.dtype).reshape(b, height * width, c)
        h = dense(c, *kinds, name="proj_in")(h)
        for i in range(self.depth):
            block = TransformerBlock(self.heads, self.cross_only, self.platform, *kinds, name=f"block_{i}")
            h = block(h, context)
        h = dense(c, *kinds, name="proj_out", zero=True)(h)
        return x + h.reshape(x.shape)


class TransformerBlock(nn.Module):
    """Two attentions and a gated MLP, each behind a norm and beside a residual connection; see `SpatialTransformer`."""

    heads: int
    cross_only: bool
    platform: Platform | None
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, context: jax.Array | None) -> jax.Array:
        """[B, T, C] -> [B, T, C]."""
        c, kinds = x.shape[-1], (self.dtype, self.param_dtype)

        def norm(name: str) -> jax.Array:
            return narrow(layer_norm(*kinds, name=name)(x), self.dtype)

        for name, seen in (("attn1", context if self.cross_only else None), ("attn2", context)):
            attention = CrossAttention(self.heads, self.platform, *kinds, name=name)
            x = x + attention(norm(f"norm{name[-1]}"), seen)
        value, gate = jnp.split(dense(8 * c, *kinds, name="mlp_in")(norm("norm3")), 2, -1)
        gated = value * nn.gelu(gate, approximate=False)  # GEGLU (Shazeer, 2020)
        return x + dense(c, *kinds, name="mlp_out")(gated)


class CrossAttention(nn.Module):
    """Attention of tokens to a context, or to each other."""

    heads: int
    platform: Platform | None
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, context: jax.Array | None) -> jax.Array:
        """[B, T, C], and perhaps [B, S, E] -> [B, T, C]."""
        b, _, c = x.shape
        kinds = (self.dtype, self.param_dtype)
        seen = x if context is None else context.astype(self.dtype)
        query, key, value = (
            dense(c, *kinds, name=name, bias=False)(source).reshape(b, source.shape[1], self.heads, -1)
            for name, source in (("query", x), ("key", seen), ("value", seen))
        )
        h = attend(query, key, value, self.platform).reshape(x.shape)
        return dense(c, *kinds, name="proj_out")(h)
