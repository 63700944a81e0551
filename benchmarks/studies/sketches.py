"""Drawings as a child makes them, for SDEdit to begin with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

_SIDE = 128  # pixels that are drawn on, before they are made smaller


def _face(draw: ImageDraw.ImageDraw) -> None:
    draw.ellipse((14, 14, 114, 114), fill="#fcd72b")
    for x in (44, 84):
        draw.ellipse((x - 7, 46, x + 7, 60), fill="black")


def _blob(draw: ImageDraw.ImageDraw) -> None:
    draw.ellipse((20, 34, 92, 104), fill="#d62b32")
    draw.ellipse((46, 22, 112, 92), fill="#e2383c")


def _stripes(draw: ImageDraw.ImageDraw) -> None:
    for row, colour in enumerate(("#d22f27", "#ffffff", "#1e50a0")):
        draw.rectangle((8, 30 + 23 * row, 119, 52 + 23 * row), fill=colour)


def _house(draw: ImageDraw.ImageDraw) -> None:
    draw.rectangle((30, 60, 98, 116), fill="#d9a066")
    draw.polygon(((18, 62), (64, 18), (110, 62)), fill="#b3382c")


def _tree(draw: ImageDraw.ImageDraw) -> None:
    draw.rectangle((56, 80, 72, 120), fill="#6a462f")
    draw.ellipse((26, 10, 102, 88), fill="#5c9e31")


# By the caption that they are varied towards.
SKETCHES: dict[str, Callable[[ImageDraw.ImageDraw], None]] = {
    "grinning face": _face,
    "tomato": _blob,
    "flag of Netherlands": _stripes,
    "house": _house,
    "deciduous tree": _tree,
}


def sketches(side: int) -> np.ndarray:
    """All of `SKETCHES` on white, uint8 [N, side, side, 3]."""
    images = []
    for sketch in SKETCHES.values():
        canvas = Image.new("RGB", (_SIDE, _SIDE), "white")
        sketch(ImageDraw.Draw(canvas))
        images.append(np.asarray(canvas.resize((side, side), Image.Resampling.BOX)))
    return np.stack(images)
