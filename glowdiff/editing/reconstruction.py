"""How well a model gives back the images that it encodes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from glowdiff.errors import ConfigError
from glowdiff.inference.model import Model


class Reconstruction(NamedTuple):
    """Images given back, and how far they are from those given.

    Errors count in levels that the model tells apart (of 5-bit models, eight of the data's 256 are one) and are taken
    before rounding where the method allows it: below half a level, rounding gives the very image.
    """

    images: np.ndarray  # uint8 [N, H, W, C]
    error: np.ndarray  # float32 [N, H, W, C], absolute
    unrounded: bool  # whether errors are those before rounding
    exact: float  # share of pixels that are given back exactly, from 0 to 1


def round_trip(model: Model, images: np.ndarray, *, label: int | np.ndarray | None = None) -> Reconstruction:
    """Encode and decode images uint8 [N, H, W, C], of class-conditional models given their labels.

    Raises:
      ConfigError: the method has no `encode`, or cannot decode.
    """
    if model.method.encode is None or model.method.sample is None:
        raise ConfigError(f"method {model.config.method} has no latents of given images, so it reconstructs none.")
    latents = model.encode(images, label=label)
    decoded = model.decode(latents, label=label)
    coarsen = model.method.coarsen
    seen = images // coarsen * coarsen
    unrounded = model.method.unrounded is not None
    given_back = model.decode_unrounded(latents, label=label) if unrounded else decoded
    error = np.abs(given_back.astype(np.float32) - seen.astype(np.float32)) / coarsen
    return Reconstruction(decoded, error, unrounded, float((decoded == seen).mean()))
