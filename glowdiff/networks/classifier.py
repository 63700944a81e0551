"""The noisy classifier of ADM: the half of the denoiser that halves the image, and a pool (section 4 of the paper)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from glowdiff.errors import require_choice
from glowdiff.networks.backbone import Backbone
from glowdiff.networks.blocks import dense, group_norm, split_heads
from glowdiff.networks.embeddings import TimeEmbedding

POOLS = ("adaptive", "attention", "spatial", "spatial_v2")
_SPATIAL_WIDTH = 2048


class AttentionPool(nn.Module):
    """One vector of an image: what the mean of its pixels sees when it attends to them and to itself.

    Attributes:
      features: of the vector.
      heads: of the attention.
    """

    features: int
    heads: int
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, features]."""
        b, height, width, c = x.shape
        x = x.reshape(b, height * width, c)
        x = jnp.concatenate([x.mean(1, keepdims=True), x], 1)
        init = nn.initializers.normal(c**-0.5)
        position = self.param("positional_embedding", init, x.shape[1:], self.param_dtype)
        x = x + position[None].astype(x.dtype)
        qkv = dense(3 * c, self.dtype, self.param_dtype, "qkv")(x)
        query, key, value = split_heads(qkv, self.heads, new_order=True)
        mean = jax.nn.dot_product_attention(query[:, :1], key, value).reshape(b, c)
        return dense(self.features, self.dtype, self.param_dtype, "proj_out")(mean)


class Classifier(Backbone):
    """`logits = module.apply(variables, x, t, cond, train=False, rngs={"dropout": key})`; `out_channels` classes.

    Attributes:
      pool: what makes one vector of the activations. adaptive: their mean, then a linear layer; attention: see
        `AttentionPool`; spatial and spatial_v2: the means of every block's activations, then two layers.
    """

    pool: str = "attention"

    @nn.compact
    def __call__(self, x: jax.Array, t: jax.Array, cond: Any = None, train: bool = False) -> jax.Array:
        """The logits of the classes that noisy images may be of.

        Args:
          x: [B, H, W, C], scaled as data are to -1 ... 1, plus noise. For the attention pool H = W = `image_size`.
          t: [B], float, as the process gives it to the network.
          cond: not looked at; denoisers are called alike.
          train: apply dropout, which needs the key "dropout".

        Returns:
          [B, out_channels], float32 (or wider, where x is).

        Raises:
          ValueError: the pool is none of `POOLS`, or the image cannot be halved often enough.
        """
        del cond
        require_choice("model.network.pool", self.pool, POOLS)
        self.check(x)
        emb = TimeEmbedding(self.channels, self.wide, self.param_dtype, name="time_embed")(t)
        seen = self.encode(x.astype(self.dtype), emb, train)
        seen.append(self.middle(seen[-1], emb, train))
        if self.pool.startswith("spatial"):
            return self._spatial(jnp.concatenate([h.astype(self.wide).mean((1, 2)) for h in seen], -1))
        kinds = (self.wide, self.param_dtype)
        h = nn.silu(group_norm(*kinds, name="norm_out")(seen[-1]))
        if self.pool == "adaptive":
            return dense(self.out_channels, *kinds, name="logits", zero=True)(h.mean((1, 2)))
        heads = h.shape[-1] // self.head_channels if self.head_channels else self.heads
        return AttentionPool(self.out_channels, heads, *kinds, name="pool")(h)

    def _spatial(self, means: jax.Array) -> jax.Array:
        kinds = (self.wide, self.param_dtype)
        h = dense(_SPATIAL_WIDTH, *kinds, name="hidden")(means)
        h = nn.relu(h) if self.pool == "spatial" else nn.silu(group_norm(*kinds, name="norm_out")(h))
        return dense(self.out_channels, *kinds, name="logits")(h)
