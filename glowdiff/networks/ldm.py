"""The `network` section of denoisers of latents: latent diffusion's and Stable Diffusion's (Rombach et al., 2022)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from glowdiff.config.numbers import listed
from glowdiff.config.parts import Part
from glowdiff.errors import require
from glowdiff.method import Condition, row
from glowdiff.networks.adm import Levels
from glowdiff.networks.captions import Captions
from glowdiff.networks.latent_unet import LatentUNet
from glowdiff.sharding import Platform


@dataclass(frozen=True)
class LDM(Levels):
    """A denoiser whose attention is transformers that read a context; the defaults are Stable Diffusion 1's.

    Sides are those of what it denoises, latents, not of the images that they become.
    """

    channels: int = 320
    channel_mult: str = "1,2,4,4"
    attention: str = "64,32,16"
    heads: int = 8
    adagn: bool = False
    depth: int = 1  # blocks of each transformer
    cross_only: str = ""  # of those sides, the ones at which both attentions of a block read the context alone
    middle_cross_only: bool = False  # and whether they do so in the middle
    label_width: int = 512  # channels of the token that a class is (where the model is told classes)

    def cross_only_sides(self) -> tuple[int, ...]:
        """`cross_only` as numbers.

        Raises:
          ConfigError: it holds anything else.
        """
        return listed("model.network.cross_only", self.cross_only, int)

    def check(self, key: str) -> None:
        """Raise `ConfigError` for impossible values."""
        super().check(key)
        for name in ("depth", "label_width"):
            require(getattr(self, name) > 0, f"{key}.{name} is {getattr(self, name)}; it must be at least 1.")
        strangers = [side for side in self.cross_only_sides() if side not in self.attention_sides()]
        require(
            not strangers,
            f"{key}.cross_only has {', '.join(map(str, strangers))}, where there is no attention: {key}.attention is "
            f"{self.attention!r}.",
        )

    def module(
        self,
        side: int,
        out_channels: int,
        takes: Iterable[Condition],
        text: Part,
        dtype: str,
        *,
        platform: Platform | None = None,
    ) -> LatentUNet:
        """The denoising module; arguments as of `ADM.module`, where `side` is that of the latents.

        Raises:
          ConfigError: a class and a caption are tokens of different widths.
        """
        takes = tuple(takes)
        label, noise_level = row(takes, "label"), row(takes, "noise_level")
        captions = text if isinstance(text, Captions) else None
        require(
            label is None or captions is None or captions.width == self.label_width,
            f"model.network.label_width is {self.label_width}, but a class stands beside the tokens of captions, whose "
            f"model.text.width is {captions and captions.width}.",
        )
        levels = [side // 2**level for level in range(len(self.multipliers(side)))]
        return LatentUNet(
            out_channels=out_channels,
            classes=label.values if label else 0,
            null_class=label is not None and label.none is not None,
            beside=tuple((each.name, each.channels) for each in takes if each.channels),
            depth=self.depth,
            cross_only=tuple(levels.index(side) for side in self.cross_only_sides()),
            middle_cross_only=self.middle_cross_only,
            label_width=self.label_width,
            noise_levels=noise_level.values if noise_level else 0,
            text=captions if captions and captions.trained else None,
            **self.arguments(side, dtype, platform),
        )
