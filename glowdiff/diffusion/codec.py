"""From images to what diffusion works in, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from glowdiff.config.parts import Part
from glowdiff.diffusion.scaling import to_levels, to_unit
from glowdiff.method import Codec, Drawn, Variables, finite_rows
from glowdiff.spec import DataSpec


@dataclass(frozen=True)
class Pixels(Part):
    """x_0 is the image itself, scaled to [-1, 1]; the one codec without variables."""

    def codec(self, spec: DataSpec, dtype: Any) -> Codec:
        """The codec for images of `spec`, x_0 in `dtype`."""

        def encode(variables: Variables, key: jax.Array | None, images: jax.Array) -> jax.Array:
            del variables, key
            return to_unit(images, spec.levels, dtype)

        def decode(variables: Variables, x_0: jax.Array) -> Drawn:
            del variables
            return Drawn(to_levels(jnp.asarray(x_0), spec.levels), finite_rows(x_0))

        return Codec(encode, decode, spec.shape)


CODECS = {"pixels": Pixels}
