"""The `network` section of CLIPs: the tower that reads images, and the module of both towers."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp

from glowdiff.config.parts import Part
from glowdiff.errors import require
from glowdiff.networks.captions import Captions
from glowdiff.networks.clip import CLIP
from glowdiff.spec import DataSpec


@dataclass(frozen=True)
class NoisedCLIP(Part):
    """A CLIP that reads x_t; the sizes are those of GLIDE's (Nichol et al., 2022)."""

    patch: int = 4  # pixels of a patch's side; it divides that of the images
    width: int = 768
    layers: int = 12
    heads: int = 12
    embedding: int = 512  # in which images and captions meet
    remat: bool = False  # recompute the activations of each block in the backward pass

    def check(self, key: str) -> None:
        """Raise `ConfigError` for impossible values."""
        for name in ("patch", "width", "layers", "heads", "embedding"):
            value = getattr(self, name)
            require(value > 0, f"{key}.{name} is {value}; it must be at least 1.")
        require(
            self.width % self.heads == 0,
            f"{key}.heads is {self.heads}, which does not divide {key}.width={self.width}.",
        )

    def check_shape(self, spec: DataSpec, name: str) -> None:
        """Raise `ConfigError` for images that the tower cannot read; `name` is that of the data set."""
        height, width, channels = spec.shape
        require(height == width, f"images of {name} are {height}x{width} pixels, but CLIP takes square ones.")
        require(
            channels == 3,
            f"images of {name} have {'1 channel' if channels == 1 else f'{channels} channels'}, but CLIP takes "
            "colour images of 3: its mean and deviation are of red, green and blue.",
        )
        require(
            height % self.patch == 0,
            f"model.network.patch is {self.patch}, which does not divide the {height} pixels of a side of {name}.",
        )

    def module(self, side: int, text: Captions, timesteps: int, dtype: str) -> CLIP:
        """The two towers.

        Args:
          side: of the images.
          text: the tower that reads captions.
          timesteps: rows of the table of timesteps.
          dtype: of the arithmetic.
        """
        return CLIP(
            image_size=side,
            patch=self.patch,
            image_width=self.width,
            image_layers=self.layers,
            image_heads=self.heads,
            timesteps=timesteps,
            text_context=text.context,
            vocab_size=text.vocab_size,
            text_width=text.width,
            text_layers=text.layers,
            text_heads=text.heads,
            embedding=self.embedding,
            remat=self.remat,
            dtype=jnp.dtype(dtype),
            param_dtype=jnp.promote_types(dtype, jnp.float32),
        )


TOWERS = {"clip": NoisedCLIP}
