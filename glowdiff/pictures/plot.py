"""Plots of lines through points, drawn with Pillow and its own font: what commands need without a plotting library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from glowdiff.pictures.labelled import INK, PALE

# Okabe & Ito's palette: told apart by colour-blind readers, and in grey.
COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233))
_GRID = (226, 226, 226)
_SCALE = 2  # the picture is drawn so many times larger, and shrunk: smooth lines
_WIDTH, _HEIGHT = 430, 330  # of a panel
_LEFT, _RIGHT, _TOP, _BOTTOM = 74, 20, 34, 52  # of it, around the axes
_SIZE, _SMALL, _TITLE = 13, 11, 16  # of letters
_TICKS = 5  # about so many
_AIR = 0.08  # share of an axis that is free at either end
_FAR = 20  # values this many times apart are shown on a logarithmic axis


class Line(NamedTuple):
    """Points in order."""

    name: str
    points: Sequence[tuple[float, float]]
    labels: Sequence[str] = ()  # beside the points


class Panel(NamedTuple):
    """One pair of axes."""

    x: str
    y: str
    lines: Sequence[Line]
    ticks: Sequence[str] = ()  # names of x = 0, 1, 2 ...; none: x is a number
    far: bool = False  # whether x is logarithmic where its values, all positive, are far apart


def plot(panels: Sequence[Panel], *, title: str = "", columns: int = 3) -> np.ndarray:
    """One picture uint8 [height, width, 3] of panels, row by row; points that are not finite are left out.

    Args:
      panels: at least one.
      title: above all.
      columns: panels beside each other, at most.
    """
    columns = min(columns, len(panels))
    top = 2 * _TITLE if title else 0
    size = (columns * _WIDTH, top + -(-len(panels) // columns) * _HEIGHT)
    canvas = Image.new("RGB", (size[0] * _SCALE, size[1] * _SCALE), "white")
    pen = _Pen(canvas)
    pen.text((size[0] / 2, top / 2 + 4), title, _TITLE, "mm")
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        _draw(pen, panel, column * _WIDTH, top + row * _HEIGHT)
    return np.asarray(canvas.resize(size, Image.Resampling.LANCZOS))


class _Pen:
    """Draws in the picture's own pixels."""

    def __init__(self, canvas: Image.Image) -> None:
        self._canvas, self._draw = canvas, ImageDraw.Draw(canvas)

    def line(self, points: Sequence[tuple[float, float]], colour: Any, width: float = 1) -> None:
        scaled = [(x * _SCALE, y * _SCALE) for x, y in points]
        self._draw.line(scaled, fill=colour, width=round(width * _SCALE), joint="curve")

    def dot(self, x: float, y: float, colour: Any) -> None:
        self._draw.circle((x * _SCALE, y * _SCALE), 3.5 * _SCALE, fill=colour)

    def text(self, at: tuple[float, float], text: str, size: int, anchor: str, colour: Any = INK) -> None:
        font = ImageFont.load_default(size * _SCALE)
        self._draw.text((at[0] * _SCALE, at[1] * _SCALE), text, fill=colour, font=font, anchor=anchor)

    def upright(self, at: tuple[float, float], text: str, size: int) -> None:
        """Text that reads upwards, its middle at a place."""
        font = ImageFont.load_default(size * _SCALE)
        box = font.getbbox(text)
        paper = Image.new("RGB", (math.ceil(box[2]) + 4, math.ceil(box[3]) + 4), "white")
        ImageDraw.Draw(paper).text((2, 2), text, fill=INK, font=font)
        turned = paper.rotate(90, expand=True)
        x, y = round(at[0] * _SCALE - turned.width / 2), round(at[1] * _SCALE - turned.height / 2)
        self._canvas.paste(turned, (x, y))


class _Axis(NamedTuple):
    low: float
    high: float
    logarithmic: bool
    ticks: list[tuple[float, str]]

    def share(self, value: float) -> float:
        """Where a value stands, from 0 to 1."""
        return (self._scaled(value) - self._scaled(self.low)) / (self._scaled(self.high) - self._scaled(self.low))

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.logarithmic else value


def _draw(pen: _Pen, panel: Panel, left: float, top: float) -> None:
    points = [point for line in panel.lines for point in line.points if all(map(math.isfinite, point))]
    x0, x1, y0, y1 = left + _LEFT, left + _WIDTH - _RIGHT, top + _HEIGHT - _BOTTOM, top + _TOP
    across = _axis([x for x, _ in points], panel.ticks, far=panel.far)
    up = _axis([y for _, y in points])

    def place(point: tuple[float, float]) -> tuple[float, float]:
        return x0 + across.share(point[0]) * (x1 - x0), y0 + up.share(point[1]) * (y1 - y0)

    for value, name in across.ticks:
        x, _ = place((value, up.low))
        pen.line([(x, y0), (x, y1)], _GRID)
        pen.text((x, y0 + 6), name, _SMALL, "mt", PALE)
    for value, name in up.ticks:
        _, y = place((across.low, value))
        pen.line([(x0, y), (x1, y)], _GRID)
        pen.text((x0 - 6, y), name, _SMALL, "rm", PALE)
    pen.line([(x0, y1), (x0, y0), (x1, y0)], INK)
    pen.text(((x0 + x1) / 2, y0 + 30), panel.x, _SIZE, "mt")
    pen.upright((left + 14, (y0 + y1) / 2), panel.y, _SIZE)
    _legend(pen, panel, x0, y1)
    for number, line in enumerate(panel.lines):
        colour = COLOURS[number % len(COLOURS)]
        there = [all(map(math.isfinite, point)) for point in line.points]
        places = [place(point) for point, real in zip(line.points, there, strict=True) if real]
        if len(places) > 1 and not panel.ticks:
            pen.line(places, colour, 2)
        for x, y in places:
            pen.dot(x, y, colour)
        labels = [label for label, real in zip(line.labels, there, strict=bool(line.labels)) if real]
        for (x, y), label in zip(places, labels, strict=bool(line.labels)):
            pen.text((x + 7, y - 7), label, _SMALL, "lb", colour)


def _legend(pen: _Pen, panel: Panel, left: float, bottom: float) -> None:
    """The names of lines above the axes, if there are several."""
    for number, line in enumerate(panel.lines if len(panel.lines) > 1 else ()):
        colour = COLOURS[number % len(COLOURS)]
        pen.dot(left + 8, bottom - 14, colour)
        pen.text((left + 16, bottom - 14), line.name, _SMALL, "lm", colour)
        left += 32 + ImageFont.load_default(_SMALL).getlength(line.name)


def _axis(values: Sequence[float], names: Sequence[str] = (), *, far: bool = False) -> _Axis:
    """An axis on which all values stand, with ticks at round ones; or at 0, 1, 2 ... if these have names."""
    if names:
        return _Axis(-0.5, len(names) - 0.5, False, [(float(n), name) for n, name in enumerate(names)])
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if far and low > 0 and high > _FAR * low:
        air = (high / low) ** _AIR
        ticks = [(value, f"{value:g}") for value in dict.fromkeys(values)]
        return _Axis(low / air, high * air, True, ticks)
    air = _AIR * (high - low) or abs(high) * _AIR or 1.0
    low, high = low - air, high + air
    step = _round_step((high - low) / _TICKS)
    places = max(0, -math.floor(math.log10(step)))
    first = math.ceil(low / step)
    ticks = [(n * step, f"{n * step:,.{places}f}") for n in range(first, math.floor(high / step) + 1)]
    return _Axis(low, high, False, ticks)


def _round_step(width: float) -> float:
    """1, 2 or 5 times a power of ten: the least that is not smaller than a width."""
    power = 10.0 ** math.floor(math.log10(width))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= width * (1 - 1e-9))
