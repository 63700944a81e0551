"""The transformer that reads captions, and pictures for CLIP: pre-norm blocks, scanned (Radford et al., 2021)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from glowdiff.networks.attention import attend
from glowdiff.networks.recomputation import remat


def quick_gelu(x: jax.Array) -> jax.Array:
    """What OpenAI's CLIP was trained with, in place of GELU."""
    return x * nn.sigmoid(1.702 * x)


ACTIVATIONS: Mapping[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": functools.partial(nn.gelu, approximate=False), "quick_gelu": quick_gelu,
}  # fmt: skip


def layer_norm(dtype: Any, param_dtype: Any, name: str, epsilon: float = 1e-5) -> nn.LayerNorm:
    """Normalises channels; it computes in, and returns, float32 or whatever is wider."""
    wide = jnp.promote_types(dtype, jnp.float32)
    return nn.LayerNorm(epsilon=epsilon, dtype=wide, param_dtype=param_dtype, use_fast_variance=False, name=name)


class Block(nn.Module):
    """Attention and an MLP four times as wide, each behind a norm and beside a residual connection."""

    heads: int
    layers: int  # of the transformer: its depth scales what blocks add at first
    causal: bool
    key_bias: bool
    dtype: Any
    param_dtype: Any
    activation: str = "gelu"

    @nn.compact
    def __call__(self, x: jax.Array, _: None = None) -> tuple[jax.Array, None]:
        """[B, T, C] -> [B, T, C], and nothing: the form that `nn.scan` takes."""
        b, t, c = x.shape
        kinds = {"dtype": self.dtype, "param_dtype": self.param_dtype}

        def dense(features: int, deviation: float, name: str, bias: bool = True) -> nn.Dense:
            init = nn.initializers.normal(deviation)
            return nn.Dense(features, use_bias=bias, kernel_init=init, name=name, **kinds)

        h = layer_norm(**kinds, name="norm_attention")(x).astype(self.dtype)
        query, key, value = (
            dense(c, c**-0.5, name, bias)(h).reshape(b, t, self.heads, -1)
            for name, bias in (("query", True), ("key", self.key_bias), ("value", True))
        )
        h = attend(query, key, value, causal=self.causal).reshape(b, t, c)
        x = x + dense(c, (2 * c * self.layers) ** -0.5, "proj_out")(h)
        h = layer_norm(**kinds, name="norm_mlp")(x).astype(self.dtype)
        h = ACTIVATIONS[self.activation](dense(4 * c, (2 * c) ** -0.5, "mlp_in")(h))
        return x + dense(c, (2 * c * self.layers) ** -0.5, "mlp_out")(h), None


class Transformer(nn.Module):
    """Blocks behind each other; the parameters of all are stacked, [layers, ...], under `blocks`.

    Attributes:
      layers: blocks.
      heads: of each attention; they divide the channels.
      causal: a token sees those before it and itself only.
      key_bias: keys have a bias, which no softmax notices; the originals differ.
      remat: recompute each block in the backward pass instead of keeping its activations.
      dtype: of the matrix products. Norms and softmax are float32, or wider.
      activation: of the MLPs: gelu | quick_gelu.
    """

    layers: int
    heads: int
    causal: bool = False
    key_bias: bool = True
    remat: bool = False
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    activation: str = "gelu"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, T, C] -> [B, T, C], not normalised."""
        block = remat(Block, self.remat, prevent_cse=False)
        scanned = nn.scan(block, variable_axes={"params": 0}, split_rngs={"params": True}, length=self.layers)
        kinds = (self.dtype, self.param_dtype, self.activation)
        x, _ = scanned(self.heads, self.layers, self.causal, self.key_bias, *kinds, name="blocks")(
            x.astype(self.dtype), None
        )
        return x
