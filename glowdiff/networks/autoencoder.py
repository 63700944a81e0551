"""The convolutional autoencoder of latent diffusion (Rombach et al., 2022; Esser et al., 2021), KL and VQ alike.

Levels are numbered by the size of their images, the full one first, in both halves.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from glowdiff.networks.blocks import AttentionBlock, conv3x3, dense, group_norm
from glowdiff.networks.convolution import convolve
from glowdiff.networks.recomputation import in_order, narrow, remat
from glowdiff.networks.resample import upsample
from glowdiff.sharding import Platform

EPSILON = 1e-6  # of every GroupNorm
FIRST_LOG_VARIANCE = -6.0  # of latents before training, whose means deviate by about 1
_AXES = ("NHWC", "HWIO", "NHWC")
_kernel = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class Decoded(NamedTuple):
    """What the decoder returns."""

    image: jax.Array  # [B, H, W, C], near -1 ... 1
    features: jax.Array  # [B, H, W, channels], of which the last convolution makes it


class Autoencoder(nn.Module):
    """Images to moments or codes, and back; `module.apply(variables, x, method="encode")`.

    Attributes:
      image_channels: of the images.
      channels: of the first level.
      channel_mult: for each level, its channels are this many times `channels`; each but the last halves the image.
      res_blocks: per level of the encoder; the decoder has one more.
      attention: levels, from 0, whose blocks attend.
      middle_attention: whether the middle attends.
      z_channels: that leave the encoder's last convolution, and enter the decoder's first.
      latent_channels: of the latents.
      moments: arrays of that many channels that the encoder gives: mean and log variance (2), or the latents (1).
      codes: rows of the codebook; 0: there is none.
      remat: recompute each block in the backward pass instead of keeping its activations.
      platform: what is compiled for, see `attend`.
      dtype: of convolutions and matrix products. Norms, softmax, moments and images are float32, or wider.
    """

    image_channels: int
    channels: int
    channel_mult: tuple[float, ...]
    res_blocks: int
    attention: tuple[int, ...]
    middle_attention: bool
    z_channels: int
    latent_channels: int
    moments: int
    codes: int = 0
    remat: bool = False
    platform: Platform | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def setup(self) -> None:
        """The halves, and the codebook."""
        common = {
            "widths": tuple(int(self.channels * mult) for mult in self.channel_mult),
            "attention": self.attention, "middle_attention": self.middle_attention, "remat": self.remat,
            "platform": self.platform, "dtype": self.dtype, "param_dtype": self.param_dtype,
        }  # fmt: skip
        of_z, of_latents = self.moments * self.z_channels, self.moments * self.latent_channels
        self.encoder = Encoder(
            res_blocks=self.res_blocks, z_channels=of_z, out_channels=of_latents, mean_channels=self.latent_channels,
            **common,
        )  # fmt: skip
        self.decoder = Decoder(
            res_blocks=self.res_blocks + 1, z_channels=self.z_channels, out_channels=self.image_channels, **common
        )
        if self.codes:
            init, shape = nn.initializers.uniform(2 / self.codes), (self.codes, self.latent_channels)
            self.codebook = self.param("codebook", lambda *args: init(*args) - 1 / self.codes, shape, self.param_dtype)

    def __call__(self, x: jax.Array) -> jax.Array:
        """All of it, to initialise parameters: images [B, H, W, C] -> what is made of them."""
        return self.decode(self.encode(x)[..., : self.latent_channels]).image

    def encode(self, x: jax.Array) -> jax.Array:
        """Images [B, H, W, C] from -1 to 1 -> mean and log variance, or latents: [B, H/f, W/f, moments * channels]."""
        return self.encoder(x)

    def decode(self, z: jax.Array) -> Decoded:
        """Latents [B, H/f, W/f, latent_channels] -> images; no codebook is looked at."""
        return self.decoder(z)

    def codebook_rows(self) -> jax.Array:
        """The codebook [codes, latent_channels]."""
        return self.codebook


class ResidualBlock(nn.Module):
    """Two convolutions with a residual connection."""

    channels: int
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, channels]."""
        kinds = (self.dtype, self.param_dtype)
        h = narrow(nn.silu(group_norm(*kinds, "norm_in", EPSILON)(x)), self.dtype)
        h = conv3x3(self.channels, *kinds, name="conv_in")(h)
        h = narrow(nn.silu(group_norm(*kinds, "norm_out", EPSILON)(h)), self.dtype)
        h = conv3x3(self.channels, *kinds, name="conv_out")(h)
        if x.shape[-1] != self.channels:
            x = dense(self.channels, *kinds, name="skip")(x)
        return x + h


class _Half(nn.Module):
    """What both halves share.

    Attributes:
      widths: channels of each level.
      res_blocks: per level.
      attention, middle_attention, remat, platform, dtype: of `Autoencoder`.
      z_channels: between the halves.
      out_channels: of what leaves.
    """

    widths: tuple[int, ...]
    res_blocks: int
    attention: tuple[int, ...]
    middle_attention: bool
    z_channels: int
    out_channels: int
    remat: bool = False
    platform: Platform | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @property
    def kinds(self) -> tuple[Any, Any]:
        """Types of arithmetic and parameters."""
        return self.dtype, self.param_dtype

    @property
    def wide(self) -> Any:
        """The type of what is sensitive to rounding."""
        return jnp.promote_types(self.dtype, jnp.float32)

    def level(self, number: int, h: jax.Array) -> jax.Array:
        """The blocks of a level."""
        for block in range(self.res_blocks):
            h = self.residual(f"level_{number}_res_{block}", h, self.widths[number])
            if number in self.attention:
                h = self.attend(f"level_{number}_attention_{block}", h)
        return h

    def middle(self, h: jax.Array) -> jax.Array:
        """The blocks at the lowest resolution."""
        h = self.residual("middle_res_0", h, self.widths[-1])
        if self.middle_attention:
            h = self.attend("middle_attention", h)
        return self.residual("middle_res_1", h, self.widths[-1])

    def residual(self, name: str, h: jax.Array, channels: int) -> jax.Array:
        """A residual block."""
        return in_order(remat(ResidualBlock, self.remat))(channels, *self.kinds, name=name)(h)

    def attend(self, name: str, h: jax.Array) -> jax.Array:
        """An attention block of one head."""
        block = in_order(remat(AttentionBlock, self.remat))
        return block(1, True, self.platform, *self.kinds, epsilon=EPSILON, name=name)(h)

    def leave(self, h: jax.Array, channels: int) -> tuple[jax.Array, jax.Array]:
        """Normalised features, and what the last convolution makes of them."""
        h = nn.silu(group_norm(*self.kinds, "norm_out", EPSILON)(h))
        return h, conv3x3(channels, self.wide, self.param_dtype, "conv_out", alone=True)(h)


class Encoder(_Half):
    """The half that halves the image.

    Attributes:
      mean_channels: of what leaves; behind them are log variances.
    """

    mean_channels: int = 0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H/f, W/f, out_channels]."""
        h = conv3x3(self.widths[0], *self.kinds, name="conv_in", alone=True)(x.astype(self.dtype))
        for number, width in enumerate(self.widths):
            h = self.level(number, h)
            if number < len(self.widths) - 1:
                h = self.halve(f"level_{number}_down", h, width)
        _, h = self.leave(self.middle(h), self.z_channels)
        return nn.Dense(
            self.out_channels, dtype=self.wide, param_dtype=self.param_dtype, kernel_init=_kernel,
            bias_init=self.first_bias, name="quant_conv",
        )(h)  # fmt: skip

    def first_bias(self, key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
        """Of means and log variances: noise as large as the latents would hide them at first."""
        del key
        return jnp.where(jnp.arange(shape[0]) < self.mean_channels, 0, FIRST_LOG_VARIANCE).astype(dtype)

    def halve(self, name: str, h: jax.Array, width: int) -> jax.Array:
        """A convolution of stride 2, whose image is padded by one row below and one column on the right alone."""
        kernel = in_order(nn.Conv)(
            width, (3, 3), 2, padding=((0, 1), (0, 1)), conv_general_dilated=convolve, dtype=self.dtype,
            param_dtype=self.param_dtype, kernel_init=_kernel, name=name,
        )  # fmt: skip
        return kernel(h)


class Decoder(_Half):
    """The half that doubles the image."""

    @nn.compact
    def __call__(self, z: jax.Array) -> Decoded:
        """[B, H/f, W/f, latent_channels] -> [B, H, W, out_channels]."""
        h = dense(self.z_channels, self.wide, self.param_dtype, "post_quant_conv")(z)
        h = conv3x3(self.widths[-1], *self.kinds, name="conv_in", alone=True)(h.astype(self.dtype))
        h = self.middle(h)
        for number, width in reversed(list(enumerate(self.widths))):
            h = self.level(number, h)
            if number:
                h = conv3x3(width, *self.kinds, name=f"level_{number}_up", alone=True)(upsample(h))
        features, image = self.leave(h, self.out_channels)
        return Decoded(image, features)


def last_layer_gradient(features: jax.Array, gradient: jax.Array) -> jax.Array:
    """The gradient at the kernel of the decoder's last convolution, [3, 3, channels, C].

    Args:
      features: that it sees, [B, H, W, channels]; see `Decoded`.
      gradient: at the images that it makes, [B, H, W, C].
    """
    shape = (3, 3, features.shape[-1], gradient.shape[-1])
    images = partial(convolve, features, strides=(1, 1), padding=((1, 1), (1, 1)), dimension_numbers=_AXES)
    return jax.vjp(images, jnp.zeros(shape, gradient.dtype))[1](gradient)[0]
