"""The `network` section of autoencoders: the shape of both halves in the paper's terms, and the module it describes."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp

from glowdiff.config.numbers import listed
from glowdiff.config.parts import Part
from glowdiff.errors import require
from glowdiff.networks.autoencoder import Autoencoder
from glowdiff.networks.bottleneck import Bottleneck
from glowdiff.networks.plan import GROUPS
from glowdiff.sharding import Platform


@dataclass(frozen=True)
class LDM(Part):
    """Latent diffusion's (Rombach et al., 2022, appendix E); the defaults are those of Stable Diffusion's, kl-f8."""

    channels: int = 128  # of the first level
    channel_mult: str = "1,2,4,4"  # channels of each level over those of the first; each but the last halves images
    res_blocks: int = 2  # per level (the decoder has one more)
    attention: str = ""  # how many times smaller maps are that attend, beside the middle: "16", "16,32"
    middle_attention: bool = True  # the middle attends
    z_channels: int = 4  # between the halves' last and first convolutions and the latents
    remat: bool = False  # recompute the activations of each block in the backward pass

    @property
    def multipliers(self) -> tuple[float, ...]:
        """`channel_mult` as numbers.

        Raises:
          ConfigError: it holds anything else.
        """
        return listed("model.network.channel_mult", self.channel_mult, float)

    @property
    def factor(self) -> int:
        """How many times smaller latents are than images."""
        return 2 ** (len(self.multipliers) - 1)

    @property
    def attending(self) -> tuple[int, ...]:
        """The levels that attend, from 0."""
        factors = listed("model.network.attention", self.attention, int)
        return tuple(level for level in range(len(self.multipliers)) if 2**level in factors)

    def check(self, key: str) -> None:
        """Raise `ConfigError` for impossible values."""
        for name in ("channels", "res_blocks", "z_channels"):
            value = getattr(self, name)
            require(value > 0, f"{key}.{name} is {value}; it must be at least 1.")
        require(bool(self.multipliers), f"{key}.channel_mult is empty; it must hold a number for each level: 1,2,4.")
        for mult in self.multipliers:
            require(
                mult > 0 and self.channels * mult % GROUPS == 0,
                f"{key}.channels is {self.channels} and {key}.channel_mult has {mult:g}, which makes "
                f"{self.channels * mult:g} channels; each level must have a multiple of {GROUPS}.",
            )
        factors = [2**level for level in range(len(self.multipliers))]
        strangers = [each for each in listed(f"{key}.attention", self.attention, int) if each not in factors]
        require(
            not strangers,
            f"{key}.attention has {', '.join(map(str, strangers))}; it must hold how many times smaller maps are than "
            f"images, which is {', '.join(map(str, factors))} at the network's levels.",
        )

    def latent_shape(self, height: int, width: int, channels: int) -> tuple[int, int, int]:
        """The shape of the latents of images of that size, of which each pixel has so many channels.

        Raises:
          ConfigError: the images cannot be halved as often.
        """
        require(
            height % self.factor == 0 and width % self.factor == 0 and min(height, width) > 0,
            f"model.network.channel_mult has {len(self.multipliers)} levels, so latents are {self.factor} times "
            f"smaller than images; these have {height}x{width} pixels, and must have multiples of {self.factor}.",
        )
        return height // self.factor, width // self.factor, channels

    def module(
        self, image_channels: int, bottleneck: Bottleneck, dtype: str, *, platform: Platform | None = None
    ) -> Autoencoder:
        """The module.

        Args:
          image_channels: of the images.
          bottleneck: what the latents are.
          dtype: of its arithmetic.
          platform: what it is compiled for; None: anything.
        """
        return Autoencoder(
            image_channels=image_channels, channels=self.channels, channel_mult=self.multipliers,
            res_blocks=self.res_blocks, attention=self.attending, middle_attention=self.middle_attention,
            z_channels=self.z_channels, latent_channels=bottleneck.channels, moments=bottleneck.moments,
            codes=bottleneck.codebook_size, remat=self.remat, platform=platform, dtype=jnp.dtype(dtype),
            param_dtype=jnp.promote_types(dtype, jnp.float32),
        )  # fmt: skip


AUTOENCODERS = {"ldm": LDM}
