"""The weight-normalised residual net of RealNVP's couplings (section 3.7; appendix E of Dinh et al., 2017)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from glowdiff.flows.bijections.batchnorm import BatchNorm
from glowdiff.flows.numerics import per_channel


class WeightNormConv(nn.Module):
    """A convolution with kernels of a learned length: `magnitude * v / |v|` (Salimans & Kingma, 2016, equation 2).

    Attributes:
      features: channels of the output.
      size: side of the kernel.
      magnitude: learn the length; else it is one, as suits a layer that is normalised next.
      bias: add one.
    """

    features: int
    size: int
    magnitude: bool
    bias: bool
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, features]."""
        shape = (self.size, self.size, x.shape[-1], self.features)
        v = self.param("kernel", nn.initializers.normal(0.05), shape, self.param_dtype)
        kernel = v * jax.lax.rsqrt(jnp.square(v).sum((0, 1, 2), keepdims=True) + 1e-12)
        if self.magnitude:
            length = self.param("magnitude", nn.initializers.ones, (self.features,), self.param_dtype)
            kernel = kernel * per_channel(length, kernel)
        y = jax.lax.conv_general_dilated(
            x.astype(self.dtype), kernel.astype(self.dtype), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        if self.bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,), self.param_dtype)
            y = y + per_channel(bias.astype(self.dtype), y)
        return y


class Normalize(nn.Module):
    """Batch normalisation with a learned scale and shift, or the scale and shift alone."""

    batch_norm: bool
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, C]."""
        if self.batch_norm:
            x = BatchNorm(self.param_dtype, name="norm")(x, train=train)[0]
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:], self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:], self.param_dtype)
        x = x.astype(self.dtype)
        return x * per_channel(scale.astype(self.dtype), x) + per_channel(bias.astype(self.dtype), x)


class ResNet(nn.Module):
    """Pre-activation residual blocks whose every stage also reaches the output through a 1x1 convolution.

    Attributes:
      width: channels in between.
      blocks: residual blocks, each of two 3x3 convolutions.
      batch_norm: normalise in front of every ReLU.
    """

    width: int
    blocks: int
    batch_norm: bool
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, features: int, train: bool = False) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, features]."""
        kinds = {"dtype": self.dtype, "param_dtype": self.param_dtype}

        def conv(features: int, size: int, name: str, magnitude: bool = True, bias: bool = True) -> WeightNormConv:
            return WeightNormConv(features, size, magnitude, bias, **kinds, name=name)

        def activate(x: jax.Array, name: str) -> jax.Array:
            return nn.relu(Normalize(self.batch_norm, **kinds, name=name)(x, train))

        h = conv(self.width, 3, "conv_in")(x)
        skip = conv(self.width, 1, "skip_in")(h)
        for block in range(self.blocks):
            r = conv(self.width, 3, f"block{block}_conv0", magnitude=not self.batch_norm, bias=not self.batch_norm)(
                activate(h, f"block{block}_norm0")
            )
            h = h + conv(self.width, 3, f"block{block}_conv1")(activate(r, f"block{block}_norm1"))
            skip = skip + conv(self.width, 1, f"block{block}_skip")(h)
        return conv(features, 1, "conv_out")(activate(skip, "norm_out"))
