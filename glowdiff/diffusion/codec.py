"""From images to what diffusion works in, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from glowdiff.config.parts import Part
from glowdiff.diffusion.scaling import to_levels, to_unit
from glowdiff.method import Drawn, Variables, finite_rows
from glowdiff.spec import DataSpec


class Codec(NamedTuple):
    """Pure functions between images, integers on the levels of their data, and x_0."""

    encode: Callable[[Variables, jax.Array, jax.Array], jax.Array]  # (variables, key, images [B, H, W, C]) -> x_0
    decode: Callable[[Variables, jax.Array], Drawn]  # (variables, x_0) -> images, and which of them are any
    shape: tuple[int, int, int]  # of one x_0


@dataclass(frozen=True)
class Pixels(Part):
    """x_0 is the image itself, scaled to [-1, 1]; the one codec without variables."""

    def codec(self, spec: DataSpec, dtype: Any) -> Codec:
        """The codec for images of `spec`, x_0 in `dtype`."""

        def encode(variables: Variables, key: jax.Array, images: jax.Array) -> jax.Array:
            del variables, key
            return to_unit(images, spec.levels, dtype)

        def decode(variables: Variables, x_0: jax.Array) -> Drawn:
            del variables
            return Drawn(to_levels(jnp.asarray(x_0), spec.levels), finite_rows(x_0))

        return Codec(encode, decode, spec.shape)


CODECS = {"pixels": Pixels}
