"""A convolution and a batch normalisation that is not trained any more: the layer of published classifiers."""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import linen as nn

from glowdiff.networks.depthwise import depthwise


class ConvNorm(nn.Module):
    """A convolution without bias, normalised by the moments that training has left, and an activation.

    Attributes:
      features: channels of the output.
      kernel: height and width.
      stride: of both axes.
      padding: SAME (where it cannot be even, one more to the right and below) or VALID.
      depthwise: each channel by itself; padding is SAME.
      epsilon: added to the variance.
      activation: on what comes out.
    """

    features: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str = "SAME"
    depthwise: bool = False
    epsilon: float = 1e-3
    activation: Callable[[jax.Array], jax.Array] = nn.relu

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H', W', features], float32."""
        shape = (*self.kernel, 1 if self.depthwise else x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        scale, variance = (self.param(name, nn.initializers.ones, (self.features,)) for name in ("scale", "variance"))
        bias, mean = (self.param(name, nn.initializers.zeros, (self.features,)) for name in ("bias", "mean"))
        if self.depthwise:
            x = depthwise(x, kernel, self.stride)
        else:
            strides, axes = (self.stride, self.stride), ("NHWC", "HWIO", "NHWC")
            x = jax.lax.conv_general_dilated(x, kernel, strides, self.padding, dimension_numbers=axes)
        factor = scale * jax.lax.rsqrt(variance + self.epsilon)
        return self.activation((x - mean[None, None, None]) * factor[None, None, None] + bias[None, None, None])
