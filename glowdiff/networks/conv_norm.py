"""A convolution and a batch normalisation that is not trained any more: the layer of published classifiers."""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import linen as nn


class ConvNorm(nn.Module):
    """A convolution without bias, normalised by the moments that training has left, and an activation.

    Attributes:
      features: channels of the output.
      kernel: height and width.
      stride: of both axes.
      padding: SAME (where it cannot be even, one more to the right and below) or VALID.
      groups: of channels that do not see each other.
      epsilon: added to the variance.
      activation: on what comes out.
    """

    features: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str = "SAME"
    groups: int = 1
    epsilon: float = 1e-3
    activation: Callable[[jax.Array], jax.Array] = nn.relu

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H', W', features], float32."""
        shape = (*self.kernel, x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        scale, variance = (self.param(name, nn.initializers.ones, (self.features,)) for name in ("scale", "variance"))
        bias, mean = (self.param(name, nn.initializers.zeros, (self.features,)) for name in ("bias", "mean"))
        x = jax.lax.conv_general_dilated(
            x, kernel, (self.stride, self.stride), self.padding, dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=self.groups,
        )  # fmt: skip
        factor = scale * jax.lax.rsqrt(variance + self.epsilon)
        return self.activation((x - mean[None, None, None]) * factor[None, None, None] + bias[None, None, None])
