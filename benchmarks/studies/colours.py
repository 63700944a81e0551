"""Colour words: OpenMoji's hearts, circles, squares, books and diamonds are of the one that their caption names."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "brown")
LINE, PAPER = 90.0, 60.0  # a pixel is neither line nor paper if it is so far from black and from white, in levels
LEAST = 0.02  # of a picture's pixels; with fewer there is no colour
_PLAIN = re.compile(rf"(?:large |small )?({'|'.join(COLOURS)}) (?:heart|circle|square|book|diamond)")


def colour_of(caption: str) -> int | None:
    """The row in `COLOURS` of what a caption asks for; None: it asks for something else than a thing of one colour.

    >>> COLOURS[colour_of("large blue diamond")]
    'blue'
    """
    match = _PLAIN.fullmatch(caption)
    return COLOURS.index(match[1]) if match else None


def mean_colour(image: np.ndarray) -> np.ndarray:
    """Of the pixels that are neither line nor paper, float [3]; NaN: there are hardly any. `image`: uint8 [H, W, 3]."""
    pixels = image.reshape(-1, 3).astype(np.float64)
    coloured = (np.linalg.norm(pixels, axis=1) > LINE) & (np.linalg.norm(255 - pixels, axis=1) > PAPER)
    return pixels[coloured].mean(0) if coloured.mean() >= LEAST else np.full(3, np.nan)


def palette(images: np.ndarray, captions: Sequence[str]) -> np.ndarray:
    """The mean colour of real pictures of each word, float [7, 3].

    Args:
      images: uint8 [N, H, W, 3].
      captions: theirs; each of `COLOURS` is among them.
    """
    words = np.array([colour_of(caption) for caption in captions])
    means = np.stack([mean_colour(image) for image in images])
    return np.stack([means[words == row].mean(0) for row in range(len(COLOURS))])


def colour_accuracy(images: np.ndarray, captions: Sequence[str], colours: np.ndarray) -> float:
    """The share of pictures whose mean colour is nearest to that of the word in their caption; chance is 1/7."""
    means = np.stack([mean_colour(image) for image in images])
    known = np.isfinite(means).all(1)
    distances = np.linalg.norm(np.nan_to_num(means)[:, None] - colours[None], axis=-1)
    return float(((distances.argmin(1) == np.array([colour_of(caption) for caption in captions])) & known).mean())
