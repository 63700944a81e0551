"""The convolutions and the coupling net of Glow (appendix B)."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from glowdiff.flows.bijections.actnorm import LOG_SCALE_FACTOR, ActNorm
from glowdiff.flows.numerics import per_channel

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")
_normal = nn.initializers.normal(0.05)


def _conv(x: jax.Array, kernel: jax.Array, padding: str, precision: Any) -> jax.Array:
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=_DIMENSIONS, precision=precision)


class EdgeBias(nn.Module):
    """What a 3x3 convolution adds where it looks past the image's edge: [min(H, 3), min(W, 3), features].

    The original pads with zeros and appends a channel that is 1 on the padding ring and 0 inside. That channel is the
    same for every image, and what it adds differs only between the corners, the sides and the inside. So it is
    convolved for an image of 3x3 pixels, and `add_edge` repeats its middle.
    """

    casts: ClassVar[bool] = True  # all its parameters to `dtype`, see `Shard`

    features: int
    kernel_init: nn.initializers.Initializer = _normal
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    precision: Any = None

    @nn.compact
    def __call__(self, height: int, width: int) -> jax.Array:
        """The bias of an image of this size, before its middle is repeated."""
        height, width = min(height, 3), min(width, 3)
        kernel = self.param("kernel", self.kernel_init, (3, 3, 1, self.features), self.param_dtype)
        ring = jnp.pad(
            jnp.zeros((1, height, width, 1), self.dtype), ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=1
        )
        return _conv(ring, kernel.astype(self.dtype), "VALID", self.precision)[0]


@jax.custom_vjp
def add_edge(h: jax.Array, edge: jax.Array) -> jax.Array:
    """H [B, H, W, F] plus what `EdgeBias` gave for its size, the middle row and column repeated.

    The gradient of `edge` is summed over batch and positions at once. Left to itself the compiler sums over the batch
    first, and devices exchange images of gradients where nine pixels would do.
    """
    for axis, length in ((0, h.shape[1]), (1, h.shape[2])):
        if length > 3:
            edge = jnp.repeat(edge, jnp.array([1, length - 2, 1]), axis, total_repeat_length=length)
    return h + edge[None]


def _add_edge_forward(h: jax.Array, edge: jax.Array) -> tuple[jax.Array, jax.Array]:
    return add_edge(h, edge), edge


def _add_edge_backward(edge: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    rows, columns = (_thirds(gradient.shape[axis]) for axis in (1, 2))
    sums = [[gradient[:, row, column].sum((0, 1, 2)) for column in columns] for row in rows]
    return gradient, jnp.stack([jnp.stack(row) for row in sums]).astype(edge.dtype)


def _thirds(length: int) -> list[slice]:
    """First pixel, the inside, last pixel; or each pixel of a side shorter than three."""
    if length < 3:
        return [slice(i, i + 1) for i in range(length)]
    return [slice(0, 1), slice(1, length - 1), slice(length - 1, length)]


add_edge.defvjp(_add_edge_forward, _add_edge_backward)


class Conv3x3(nn.Module):
    """A 3x3 convolution that knows the image's edge and has no other bias."""

    casts: ClassVar[bool] = True  # all its parameters to `dtype`, see `Shard`

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
        return add_edge(_conv(x.astype(self.dtype), kernel.astype(self.dtype), "SAME", self.precision), edge)


class ScaledBias(nn.Module):
    """`(h + bias) * exp(3 logs)`, both zero at first: the end of every zero-initialised layer."""

    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        """[..., features] -> [..., features]."""
        bias = self.param("bias", nn.initializers.zeros, h.shape[-1:], self.param_dtype)
        logs = self.param("logs", nn.initializers.zeros, h.shape[-1:], self.param_dtype)
        scale = jnp.exp(LOG_SCALE_FACTOR * logs).astype(self.dtype)
        return (h + per_channel(bias.astype(self.dtype), h)) * per_channel(scale, h)


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
      factor: channels of the output for each of the input.
      width: channels in between.
      dtype: of the arithmetic; bfloat16 is fine here, the likelihood is computed outside.
    """

    casts: ClassVar[bool] = True  # all its parameters to `dtype`, see `Shard`

    factor: int
    width: int
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, factor * C]."""
        kinds = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        h = Conv3x3(self.width, **kinds, name="conv_in")(x)
        h = nn.relu(ActNorm(**kinds, name="actnorm_in")(h)[0])
        kernel = self.param("kernel_mid", _normal, (self.width, self.width), self.param_dtype)
        h = h @ kernel.astype(self.dtype)
        h = nn.relu(ActNorm(**kinds, name="actnorm_mid")(h)[0])
        return ZeroConv3x3(self.factor * x.shape[-1], **kinds, name="conv_out")(h)
