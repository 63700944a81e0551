"""The `network` section of ADM's networks: the shape of a UNet in the paper's terms, and the modules it describes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from glowdiff.config.numbers import listed
from glowdiff.config.parts import Part
from glowdiff.errors import require, require_choice
from glowdiff.method import Condition, row
from glowdiff.networks.captions import Captions, CLIPText
from glowdiff.networks.classifier import POOLS, Classifier
from glowdiff.networks.plan import check_sides, check_unet, default_channel_mult
from glowdiff.networks.text_unet import TextUNet
from glowdiff.networks.unet import UNet
from glowdiff.sharding import Platform
from glowdiff.spec import DataSpec


@dataclass(frozen=True)
class Levels(Part):
    """What denoisers and classifiers share: levels of residual blocks, some of which attend."""

    channels: int = 128  # of the first level
    channel_mult: str = ""  # channels of each level over those of the first; empty: ADM's for the size of the images
    res_blocks: int = 2  # per level (the decoder has one more)
    attention: str = "16,8"  # sides, in pixels, at which there is attention; empty: in the middle only
    heads: int = 4  # of attention,
    head_channels: int | None = None  # or channels of each head
    adagn: bool = True  # timestep and label scale and shift the norms (AdaGN); False: they are added
    updown: bool = False  # residual blocks resample (BigGAN); False: strided convolutions do
    new_attention_order: bool = False  # as the 64x64 release stores queries, keys and values: for imported weights
    dropout: float = 0.0
    remat: bool = False  # recompute the activations of each block in the backward pass

    def multipliers(self, side: int) -> tuple[float, ...]:
        """`channel_mult` as numbers, for images of that side.

        Raises:
          ConfigError: it holds anything else.
        """
        return listed("model.network.channel_mult", self.channel_mult, float) or default_channel_mult(side)

    def attention_sides(self) -> tuple[int, ...]:
        """`attention` as numbers.

        Raises:
          ConfigError: it holds anything else.
        """
        return listed("model.network.attention", self.attention, int)

    def check(self, key: str) -> None:
        """Raise `ConfigError` for impossible values."""
        for name in ("channels", "res_blocks", "heads", "head_channels"):
            value = getattr(self, name)
            require(value is None or value > 0, f"{key}.{name} is {value}; it must be at least 1.")
        require(0 <= self.dropout < 1, f"{key}.dropout is {self.dropout}; it is a share, from 0 to below 1.")
        self.multipliers(64)
        self.attention_sides()

    def check_shape(self, height: int, width: int) -> None:
        """Raise `ConfigError` for images that the network cannot see."""
        multipliers = self.multipliers(height)
        check_unet(height, self.channels, multipliers, self.attention_sides(), self.heads, self.head_channels)
        check_sides(height, width, len(multipliers))

    def arguments(self, side: int, dtype: str, platform: Platform | None) -> dict[str, Any]:
        """What `Backbone` is built with, for images of that side and a platform."""
        return {
            "image_size": side,
            "channels": self.channels,
            "channel_mult": self.multipliers(side),
            "res_blocks": self.res_blocks,
            "attention": self.attention_sides(),
            "heads": self.heads,
            "head_channels": self.head_channels,
            "adagn": self.adagn,
            "updown": self.updown,
            "new_order": self.new_attention_order,
            "dropout": self.dropout,
            "remat": self.remat,
            "dtype": jnp.dtype(dtype),
            "param_dtype": jnp.promote_types(dtype, jnp.float32),
            "platform": platform,
        }


@dataclass(frozen=True)
class ADM(Levels):
    """A denoiser; the defaults are those of DDPM's on CIFAR-10, but for the published details."""

    def module(
        self,
        side: int,
        out_channels: int,
        takes: Iterable[Condition],
        text: Part,
        dtype: str,
        *,
        platform: Platform | None = None,
    ) -> UNet:
        """The denoising module.

        Args:
          side: of the images.
          out_channels: of its output.
          takes: the conditions that it is told.
          text: how captions are read.
          dtype: of its arithmetic.
          platform: what it is compiled for; None: anything.

        Raises:
          ConfigError: captions are not read as GLIDE reads them.
        """
        takes = tuple(takes)
        require(
            not isinstance(text, CLIPText),
            f"model.network.name is {self.name!r}, which reads captions by model.text.name=glide; model.network.name="
            "ldm reads them by clip as well.",
        )
        label = row(takes, "label")
        shape = {
            "out_channels": out_channels,
            "classes": label.values if label else 0,
            "null_class": label is not None and label.none is not None,
            "beside": tuple((each.name, each.channels) for each in takes if each.channels),
            **self.arguments(side, dtype, platform),
        }
        if not isinstance(text, Captions):
            return UNet(**shape)
        return TextUNet(
            vocab=text.vocab_size,
            text_context=text.context,
            text_width=text.width,
            text_layers=text.layers,
            text_heads=text.heads,
            **shape,
        )


@dataclass(frozen=True)
class ADMClassifier(Levels):
    """A classifier of noised images; the defaults are ADM's."""

    attention: str = "32,16,8"
    head_channels: int | None = 64
    updown: bool = True
    pool: str = "attention"  # adaptive | attention | spatial | spatial_v2: from features to logits

    def check(self, key: str) -> None:
        """Raise `ConfigError` for impossible values."""
        super().check(key)
        require_choice(f"{key}.pool", self.pool, POOLS)

    def module(self, spec: DataSpec, dtype: str, *, platform: Platform | None = None) -> Classifier:
        """The classifying module for images of `spec`; `platform` as of `ADM.module`."""
        arguments = self.arguments(spec.shape[0], dtype, platform)
        return Classifier(out_channels=len(spec.classes), pool=self.pool, **arguments)


CLASSIFIERS = {"adm": ADMClassifier}
