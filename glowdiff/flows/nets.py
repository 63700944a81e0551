"""The convolutions and the coupling net of Glow (appendix B)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from glowdiff.flows.bijections.actnorm import LOG_SCALE_FACTOR, ActNorm

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")
_normal = nn.initializers.normal(0.05)


def _conv(x: jax.Array, kernel: jax.Array, padding: str, precision: Any) -> jax.Array:
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=_DIMENSIONS, precision=precision)


class EdgeBias(nn.Module):
    """What a 3x3 convolution adds where it looks past the image's edge: [1, H, W, features].

    The original pads with zeros and appends a channel that is 1 on the padding ring and 0 inside. That channel is the
    same for every image, so its convolution is computed once for the batch instead of widening every input by one.
    """

    features: int
    kernel_init: nn.initializers.Initializer = _normal
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    precision: Any = None

    @nn.compact
    def __call__(self, height: int, width: int) -> jax.Array:
        """The bias of an image of this size."""
        kernel = self.param("kernel", self.kernel_init, (3, 3, 1, self.features), self.param_dtype)
        ring = jnp.pad(
            jnp.zeros((1, height, width, 1), self.dtype), ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=1
        )
        return _conv(ring, kernel.astype(self.dtype), "VALID", self.precision)


class Conv3x3(nn.Module):
    """A 3x3 convolution that knows the image's edge and has no other bias."""

    features: int
    kernel_init: nn.initializers.Initializer = _normal
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    precision: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, features]."""
        kernel = self.param("kernel", self.kernel_init, (3, 3, x.shape[-1], self.features), self.param_dtype)
        edge = EdgeBias(self.features, self.kernel_init, self.dtype, self.param_dtype, self.precision, name="edge")(
            x.shape[1], x.shape[2]
        )
        return _conv(x.astype(self.dtype), kernel.astype(self.dtype), "SAME", self.precision) + edge


class ScaledBias(nn.Module):
    """`(h + bias) * exp(3 logs)`, both zero at first: the end of every zero-initialised layer."""

    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        """[..., features] -> [..., features]."""
        bias = self.param("bias", nn.initializers.zeros, h.shape[-1:], self.param_dtype)
        logs = self.param("logs", nn.initializers.zeros, h.shape[-1:], self.param_dtype)
        return (h + bias.astype(self.dtype)) * jnp.exp(LOG_SCALE_FACTOR * logs).astype(self.dtype)


class ZeroConv3x3(nn.Module):
    """A 3x3 convolution that returns zeros until it has been trained."""

    features: int
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    precision: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, features]."""
        zeros = nn.initializers.zeros
        h = Conv3x3(self.features, zeros, self.dtype, self.param_dtype, self.precision, name="conv")(x)
        return ScaledBias(self.dtype, self.param_dtype, name="output")(h)


class CouplingNet(nn.Module):
    """conv 3x3 -> actnorm -> ReLU -> conv 1x1 -> actnorm -> ReLU -> zero-initialised conv 3x3.

    Attributes:
      features: channels of the output.
      width: channels in between.
      dtype: of the arithmetic; bfloat16 is fine here, the likelihood is computed outside.
    """

    features: int
    width: int
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, features]."""
        kinds = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        h = Conv3x3(self.width, **kinds, name="conv_in")(x)
        h = nn.relu(ActNorm(**kinds, name="actnorm_in")(h)[0])
        kernel = self.param("kernel_mid", _normal, (self.width, self.width), self.param_dtype)
        h = h @ kernel.astype(self.dtype)
        h = nn.relu(ActNorm(**kinds, name="actnorm_mid")(h)[0])
        return ZeroConv3x3(self.features, **kinds, name="conv_out")(h)
