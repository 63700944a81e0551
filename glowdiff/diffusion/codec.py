"""From images to what diffusion works in, and back: the `codec` section."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from glowdiff.config.parts import Part
from glowdiff.diffusion.scaling import to_levels, to_unit
from glowdiff.errors import ConfigError, require
from glowdiff.method import Codec, Drawn, Frozen, Variables, finite_rows
from glowdiff.spec import DataSpec

CODEC = "codec"  # the name of a frozen autoencoder


@dataclass(frozen=True)
class Pixels(Part):
    """x_0 is the image itself, scaled to [-1, 1]; the one codec without variables."""

    def codec(self, spec: DataSpec, dtype: Any, frozen: Mapping[str, Frozen] | None = None) -> Codec:
        """The codec for images of `spec`, x_0 in `dtype`."""
        del frozen

        def encode(variables: Variables, key: jax.Array | None, images: jax.Array) -> jax.Array:
            del variables, key
            return to_unit(images, spec.levels, dtype)

        def decode(variables: Variables, x_0: jax.Array) -> Drawn:
            del variables
            return Drawn(to_levels(jnp.asarray(x_0), spec.levels), finite_rows(x_0))

        return Codec(encode, decode, spec.shape)


@dataclass(frozen=True)
class Latents(Part):
    """x_0 are the latents of an autoencoder, scaled to deviation 1 (Rombach et al., 2022); it stays as it is."""

    settings: ClassVar[Mapping[str, Any]] = {"sampling.threshold": "none"}  # nothing bounds latents

    workdir: str = ""  # of the autoencoder (method=autoencoder)

    @property
    def frozen_workdir(self) -> str:
        """See `Part`."""
        return self.workdir

    def check(self, key: str) -> None:
        """Raise `ConfigError` for impossible values."""
        require(
            bool(self.workdir),
            f"{key}.workdir is empty; it must be the workdir of an autoencoder, which train.py trains "
            "(--config=ldm/openmoji_codec) or glowdiff import writes.",
        )

    def codec(self, spec: DataSpec, dtype: Any, frozen: Mapping[str, Frozen] | None = None) -> Codec:
        """The codec for images of `spec`, x_0 in `dtype`; its variables are those of `frozen`.

        Raises:
          ConfigError: the workdir holds another model than an autoencoder, or one of other images.
        """
        part = (frozen or {}).get(CODEC)
        if part is None:
            raise ConfigError(f"model.codec.workdir is {self.workdir}, whose autoencoder is not at hand.")
        inner, images = part.method.codec, part.spec
        if inner is None or inner.posterior is None or inner.draw is None:
            raise ConfigError(f"model.codec.workdir is {self.workdir}, whose model is no autoencoder.")
        (height, width, channels), factor = spec.shape, images.shape[0] // inner.shape[0]
        require(
            (channels, spec.levels) == (images.shape[-1], images.levels),
            f"model.codec.workdir is {self.workdir}, an autoencoder of images with {images.shape[-1]} channels and "
            f"{images.levels} levels; those of {spec.name} have {channels} and {spec.levels}.",
        )
        require(
            height % factor == 0 and width % factor == 0,
            f"model.codec.workdir is {self.workdir}, whose latents are {factor} times smaller than images; those of "
            f"{spec.name} have {height}x{width} pixels, and must have multiples of {factor}.",
        )
        encode, posterior, draw = inner.encode, inner.posterior, inner.draw

        def own(variables: Variables) -> Variables:
            return variables["frozen"][CODEC]

        return Codec(
            encode=lambda variables, key, images: encode(own(variables), key, images).astype(dtype),
            decode=lambda variables, x_0: inner.decode(own(variables), x_0),
            shape=(height // factor, width // factor, inner.shape[-1]),
            posterior=lambda variables, images: posterior(own(variables), images),
            draw=lambda variables, key, kept: draw(own(variables), key, kept).astype(dtype),
        )


CODECS = {"pixels": Pixels, "autoencoder": Latents}
