"""Skin tones by colour: OpenMoji paints each of its five in one, so a picture can be asked which one it shows."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from glowdiff.data.sets.openmoji_names import TONES

NEAR = 24.0  # a pixel is skin if its colour is so close to one of the five, in levels
ENOUGH = 0.25  # of the largest of the five areas: the lightest such one is skin, for the darker ones may be hair
_TONE = re.compile(r"(?<![\w-])(medium-light|medium-dark|light|medium|dark) skin tone")


def tone_of(caption: str) -> int | None:
    """The row in `TONES` of the one skin tone that a caption asks for; None: none, or two.

    >>> TONES[tone_of("waving hand: medium-dark skin tone")]
    'medium-dark'
    """
    tones = set(_TONE.findall(caption))
    return TONES.index(tones.pop()) if len(tones) == 1 else None


def palette(images: np.ndarray, tones: np.ndarray) -> np.ndarray:
    """The colour of each tone, int [5, 3]: the one that has most more pixels in its pictures than in other tones'.

    Args:
      images: real pictures, uint8 [N, H, W, 3], as many of each tone.
      tones: their tones, int [N], rows of `TONES`.
    """
    flat = images.reshape(len(images), -1, 3)
    colours, which = np.unique(flat.reshape(-1, 3), axis=0, return_inverse=True)
    owner = np.repeat(tones, flat.shape[1])
    counts = np.zeros((len(TONES), len(colours)), np.int64)
    np.add.at(counts, (owner, which.reshape(-1)), 1)
    rows = []
    for tone in range(len(TONES)):
        rest = np.delete(counts, tone, axis=0).max(0)
        rows.append(colours[(counts[tone] - rest).argmax()])
    return np.array(rows, np.int64)


def seen_tones(images: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """The tone that pictures show, int [N]; -1: no skin at all.

    Args:
      images: uint8 [N, H, W, 3].
      colours: of the tones, light to dark, [5, 3], see `palette`.
    """
    distance = np.linalg.norm(images[..., None, :].astype(np.float32) - colours.astype(np.float32), axis=-1)
    nearest = np.where(distance.min(-1) < NEAR, distance.argmin(-1), -1)
    areas = np.stack([(nearest == tone).sum((1, 2)) for tone in range(len(colours))], 1)
    largest = areas.max(1)
    return np.where(largest > 0, (areas >= ENOUGH * largest[:, None]).argmax(1), -1)


def tone_accuracy(images: np.ndarray, captions: Sequence[str], colours: np.ndarray) -> dict[str, float | int | None]:
    """Of how many pictures whose captions ask for one tone there are, and the share that shows it; chance is 0.2."""
    tones = [tone_of(caption) for caption in captions]
    rows = [row for row, tone in enumerate(tones) if tone is not None]
    if not rows:
        return {"of a tone": 0, "right tone": None}
    right = seen_tones(images[rows], colours) == np.array([tones[row] for row in rows])
    return {"of a tone": len(rows), "right tone": float(right.mean())}
