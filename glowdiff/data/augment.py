"""Random changes of training images."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import grain
import numpy as np

from glowdiff.data.sources import Example


@dataclass(frozen=True)
class Augment(grain.transforms.RandomMap):
    """Mirrors an image with probability 1/2, and shifts it by up to `shift` pixels, its edges repeated."""

    flip: bool
    shift: int

    def random_map(self, element: Example, rng: np.random.Generator) -> Example:  # pyright: ignore[reportIncompatibleMethodOverride]
        """`element` with its image, uint8 [H, W, C], changed; or of its `latents` [2, h, w, C] those that are meant."""
        if "latents" in element:
            return {**element, "latents": element["latents"][int(rng.random() < 0.5)]}
        image = element["image"]
        height, width, _ = image.shape
        mirrored = self.flip and rng.random() < 0.5
        down, right = (int(rng.integers(0, 2 * self.shift, endpoint=True)) for _ in range(2)) if self.shift else (0, 0)
        # Picking rows and columns is several times faster than np.pad, and leaves contiguous images to stack.
        columns = _padded(width, self.shift)[right : right + width]
        image = image.take(columns[::-1] if mirrored else columns, axis=1)
        if self.shift:
            image = image.take(_padded(height, self.shift)[down : down + height], axis=0)
        return {"image": image, "cond": element["cond"]}


@functools.lru_cache(maxsize=64)
def _padded(side: int, shift: int) -> np.ndarray:
    """The indices of `side` pixels with the first and the last repeated `shift` times."""
    return np.clip(np.arange(-shift, side + shift), 0, side - 1)
