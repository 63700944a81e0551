"""Labelled grids of pictures, drawn with Pillow and its own font."""

from __future__ import annotations

import bisect
import itertools
import math
import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from glowdiff.pictures.files import to_display

SIDE = 96  # pixels that the longer side of a picture has, as nearly as a whole factor allows; larger ones stay
INK, PALE = (32, 32, 32), (112, 112, 112)
_MOST_LINES = 3
_CAPTION_LINES = 6
_NOTE_LINES = 24
_PLAIN = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "×": "x", "©": "(c)"})  # noqa: RUF001


def labelled_grid(
    images: np.ndarray,
    levels: int,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    corner: str = "",
    footer: str = "",
    most: int = _MOST_LINES,
) -> np.ndarray:
    """One picture uint8 [height, width, 3]: rows of images on white, labelled.

    Args:
      images: integers 0 ... levels - 1, [R, T, H, W, C]; C is 1, 3, or else the first channel is shown.
      levels: of the images.
      rows: R labels, on the left.
      columns: T labels, on top.
      corner: what the column labels are, left of them.
      footer: written below, such as whose pictures these are, in at most 24 lines.
      most: lines of a label; what is longer ends in dots.
    """
    pictures = _colours(to_display(images, levels))
    height, width = pictures.shape[2:4]
    factor = max(1, round(SIDE / max(height, width)))
    height, width = height * factor, width * factor
    size = max(14, min(20, width // 6))
    font = ImageFont.load_default(size)
    gap, line = max(4, size // 2), round(size * 1.3)

    tops = [_wrapped(label, width, font, most) for label in columns]
    sides = [_wrapped(label, 11 * size, font, most) for label in rows]
    corners = _wrapped(corner, 11 * size, font, most)
    left = max((_width(text, font) for lines in [*sides, corners] for text in lines), default=0)
    margin = 2 * gap
    across, down = width + gap, max(height, max(map(len, sides), default=0) * line) + gap
    start_x = margin + (left + margin if left else 0)
    start_y = margin + max(map(len, [*tops, corners])) * line + gap // 2
    total = start_x + len(columns) * across - gap + margin
    below = start_y + len(rows) * down - gap + margin
    small = ImageFont.load_default(max(12, size - 3))
    notes = _wrapped(footer, total - 2 * margin, small, _NOTE_LINES)
    pitch = round(max(12, size - 3) * 1.3)
    canvas = Image.new("RGB", (total, below + (len(notes) * pitch + margin - gap if notes else 0)), "white")
    draw = ImageDraw.Draw(canvas)

    def write(lines: list[str], x: float, y: float, anchor: str, pale: bool = False) -> None:
        """Lines downwards, the middle of the first at y."""
        for number, text in enumerate(lines):
            draw.text((x, y + number * line), text, fill=PALE if pale else INK, font=font, anchor=anchor)

    base = start_y - gap // 2 - line / 2  # middle of the lowest line of column labels
    write(corners, margin + left, base - (len(corners) - 1) * line, "rm", pale=True)
    for column, lines in enumerate(tops):
        write(lines, start_x + column * across + width / 2, base - (len(lines) - 1) * line, "mm")
    for row, lines in enumerate(sides):
        y = start_y + row * down
        write(lines, margin + left, y + (down - gap) / 2 - (len(lines) - 1) * line / 2, "rm")
        for column in range(len(columns)):
            picture = Image.fromarray(pictures[row, column]).resize((width, height), Image.Resampling.NEAREST)
            canvas.paste(picture, (start_x + column * across, y + (down - gap - height) // 2))
    for number, text in enumerate(notes):
        draw.text((margin, below - gap // 2 + number * pitch), text, fill=PALE, font=small, anchor="lt")
    return np.asarray(canvas)


def captioned_grid(images: np.ndarray, levels: int, captions: Sequence[str]) -> np.ndarray:
    """One picture uint8 [height, width, 3] of images row by row, each below its caption; one of all stands at the end.

    Args:
      images: integers 0 ... levels - 1, [N, H, W, C]; C as of `labelled_grid`.
      levels: of the images.
      captions: N of them.
    """
    n = len(images)
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    paper = np.full((rows * columns - n, *images.shape[1:]), levels - 1, images.dtype)
    cells = np.concatenate([images, paper]).reshape(rows, columns, *images.shape[1:])
    if len(set(captions)) == 1:
        return labelled_grid(cells, levels, rows=[""] * rows, columns=[""] * columns, footer=captions[0])
    labels = [*captions, *[""] * len(paper)]
    strips = [
        labelled_grid(
            row[None], levels, rows=[""], columns=labels[i * columns : (i + 1) * columns], most=_CAPTION_LINES
        )
        for i, row in enumerate(cells)
    ]
    return np.concatenate(strips)


def _colours(images: np.ndarray) -> np.ndarray:
    if images.shape[-1] == 3:
        return images
    return np.repeat(images[..., :1], 3, axis=-1)


def _width(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> int:
    return math.ceil(font.getlength(text))


def _wrapped(
    text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, most: int = _MOST_LINES
) -> list[str]:
    """The lines of `text`, at most `most` of at most `width` pixels; dots stand for what is cut off."""
    parts = (part for line in _drawable(text).splitlines() for part in _wrapped_line(line, width, font))
    lines = list(itertools.islice(parts, most + 1))
    if len(lines) <= most:
        return lines
    last = lines[most - 1]
    while last and _width(f"{last}...", font) > width:
        last = last[:-1]
    return [*lines[: most - 1], f"{last.rstrip()}..."]


def _wrapped_line(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> Iterator[str]:
    """Yield the lines of `text`, which holds no break, one at a time: nobody measures what does not fit.

    No letter is narrower than a pixel, so of a word no more than `width` letters are looked at.
    """
    line = ""
    for word in text.split():
        if line and _width(f"{line} {word[:width]}", font) <= width:
            line += f" {word}"
            continue
        if line:
            yield line
        start = 0
        while len(word) - start > 1 and _width(word[start : start + width + 1], font) > width:
            fits = bisect.bisect_right(range(1, width + 1), width, key=lambda n: _width(word[start : start + n], font))
            yield word[start : start + max(fits, 1)]
            start += max(fits, 1)
        line = word[start:]
    if line:
        yield line


def _drawable(text: str) -> str:
    """`text` in ASCII, as Pillow's font has little else: letters without accents, plain quotes and dashes, else `?`."""
    plain = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    return "".join(c for c in plain if not unicodedata.combining(c)).encode("ascii", "replace").decode("ascii")
