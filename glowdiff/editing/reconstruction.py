"""How well a model gives back the images that it encodes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from glowdiff.errors import ConfigError
from glowdiff.inference.checks import check_model
from glowdiff.inference.model import Model
from glowdiff.method import classes


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
    draws = check_model("model", model).method.draws
    if draws is None or draws.encode is None:
        raise ConfigError(f"method {model.config.method} has no latents of given images, so it reconstructs none.")
    own = told(model, label)
    latents = model.encode(images, **own)
    decoded = model.decode(latents, allow_nonfinite=True, **own)
    seen = images // draws.coarsen * draws.coarsen
    unrounded = draws.unrounded is not None
    back = model.decode_unrounded(latents, **own) if unrounded else decoded
    error = np.abs(back.astype(np.float32) - seen.astype(np.float32)) / draws.coarsen
    return Reconstruction(decoded, error, unrounded, float((decoded == seen).mean()))


def told(model: Model, labels: int | np.ndarray | None) -> dict[str, Any]:
    """Labels as a choice of `Model.encode` and `decode`; nothing for a model that is told none, whatever data know."""
    return {} if labels is None or not classes(model.method.takes) else {"label": labels}
