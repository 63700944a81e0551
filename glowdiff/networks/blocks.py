"""The two blocks that ADM networks are made of, and their layers (Dhariwal & Nichol, 2021, section 3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from glowdiff.networks.attention import attend
from glowdiff.networks.convolution import convolve
from glowdiff.networks.normalization import GroupNorm
from glowdiff.networks.plan import GROUPS
from glowdiff.networks.recomputation import in_order, narrow
from glowdiff.sharding import Platform

# The original's initialisation, which is PyTorch's: uniform in +-1/sqrt(fan in).
_kernel = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
_zeros = nn.initializers.zeros


def group_norm(dtype: Any, param_dtype: Any, name: str, epsilon: float = 1e-5) -> GroupNorm:
    """Normalises groups of channels; it computes in, and returns, float32 or whatever is wider."""
    wide = jnp.promote_types(dtype, jnp.float32)
    return GroupNorm(GROUPS, epsilon, dtype=wide, param_dtype=param_dtype, name=name)


def dense(features: int, dtype: Any, param_dtype: Any, name: str, zero: bool = False, bias: bool = True) -> nn.Dense:
    """A linear layer."""
    init = _zeros if zero else _kernel
    return nn.Dense(features, use_bias=bias, dtype=dtype, param_dtype=param_dtype, kernel_init=init, name=name)


def conv3x3(
    features: int,
    dtype: Any,
    param_dtype: Any,
    name: str,
    *,
    stride: int = 1,
    zero: bool = False,
    alone: bool = False,
) -> nn.Conv:
    """A convolution that pads by one pixel on all sides; "SAME" would pad even sides unevenly for stride 2.

    Args:
      features: channels of its output.
      dtype: of its arithmetic,
      param_dtype: and of its parameters.
      name: of the module.
      stride: in pixels.
      zero: its kernel is zero at first.
      alone: it stands between blocks, not in one, and so is itself what `in_order` takes.
    """
    init = _zeros if zero else _kernel
    kinds = {"dtype": dtype, "param_dtype": param_dtype}
    return (in_order(nn.Conv) if alone else nn.Conv)(
        features, (3, 3), stride, padding=1, kernel_init=init, conv_general_dilated=convolve, name=name, **kinds
    )


class ResBlock(nn.Module):
    """Two convolutions with a residual connection, told of time and class in between.

    Attributes:
      channels: of the output.
      adagn: time and class scale and shift what the second norm returns (AdaGN); else they are added in front of it.
      dropout: rate, in front of the second convolution.
      resample: changes the size of the image, after the first norm and SiLU and beside it alike.
      dtype: of the convolutions.
    """

    channels: int
    adagn: bool
    dropout: float
    resample: Callable[[jax.Array], jax.Array] | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, parts: jax.Array | tuple[jax.Array, ...], emb: jax.Array, train: bool) -> jax.Array:
        """[B, H, W, C], or parts of these channels, and an embedding [B, E] -> [B, H', W', channels]."""
        x = jnp.concatenate(parts, -1) if isinstance(parts, tuple) else parts
        kinds = (self.dtype, self.param_dtype)
        h = narrow(nn.silu(group_norm(*kinds, name="norm_in")(x)), self.dtype)
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = conv3x3(self.channels, *kinds, name="conv_in")(h)
        time = dense(self.channels * (2 if self.adagn else 1), emb.dtype, self.param_dtype, "embed")(nn.silu(emb))
        time = time[:, None, None, :]  # and class
        norm = group_norm(*kinds, name="norm_out")
        if self.adagn:
            scale, shift = jnp.split(time, 2, -1)
            h = norm(h) * (1 + scale) + shift
        else:
            h = norm(h + time)
        h = narrow(nn.silu(h), self.dtype)
        h = nn.Dropout(self.dropout)(h, deterministic=not train)
        h = conv3x3(self.channels, *kinds, name="conv_out", zero=True)(h)
        if x.shape[-1] != self.channels:
            x = dense(self.channels, *kinds, name="skip")(x)
        return x + h


def split_heads(qkv: jax.Array, heads: int, new_order: bool, parts: int = 3) -> tuple[jax.Array, ...]:
    """Queries, keys and values, each [B, T, heads, channels of a head], of the [B, T, 3C] that a layer makes of them.

    In the new order all heads' queries come before the keys, in the legacy order each head's before its own keys.
    Two parts are keys and values, of [B, T, 2C].
    """
    b, t, _ = qkv.shape
    shape, axis = ((b, t, parts, heads, -1), 2) if new_order else ((b, t, heads, parts, -1), 3)
    return tuple(jnp.moveaxis(qkv.reshape(shape), axis, 0))


class AttentionBlock(nn.Module):
    """Every pixel attends to all, and to a context if there is one, with a residual connection; softmax in float32.

    Attributes:
      heads: of the attention.
      new_order: of the queries', keys' and values' channels, see `split_heads`.
      platform: what is compiled for, see `attend`.
      dtype: of the matrix products.
      epsilon: of the norm.
    """

    heads: int
    new_order: bool
    platform: Platform | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array, context: jax.Array | None = None) -> jax.Array:
        """[B, H, W, C], and a context [B, T, E] as it is -> [B, H, W, C]."""
        b, height, width, c = x.shape
        kinds = (self.dtype, self.param_dtype)
        h = narrow(group_norm(*kinds, name="norm", epsilon=self.epsilon)(x), self.dtype).reshape(b, height * width, c)
        query, key, value = split_heads(dense(3 * c, *kinds, name="qkv")(h), self.heads, self.new_order)
        if context is not None:
            keys_values = dense(2 * c, *kinds, name="encoder_kv")(context.astype(self.dtype))
            more = split_heads(keys_values, self.heads, self.new_order, parts=2)
            key, value = (jnp.concatenate(pair, 1) for pair in zip(more, (key, value), strict=True))
        h = attend(query, key, value, self.platform).reshape(b, height * width, c)
        h = dense(c, *kinds, name="proj_out", zero=True)(h)
        return x + h.reshape(x.shape)
