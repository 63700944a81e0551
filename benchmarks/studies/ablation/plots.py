"""The figures' pictures. Only this module knows matplotlib."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.studies.ablation.runs import Point
from glowdiff.errors import require

# Okabe & Ito's palette: told apart by colour-blind readers, and in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_SKIP = 0.1  # share of the training at whose start curves are cut off: they fall from far above


def check_available() -> None:
    """Raise `ConfigError` if matplotlib is not installed, before anything is trained."""
    require(
        importlib.util.find_spec("matplotlib") is not None,
        "the plots need matplotlib: pip install 'glowdiff[bench]'.",
    )


def _pyplot() -> Any:
    import matplotlib as mpl  # pyright: ignore[reportMissingImports]

    mpl.use("Agg")
    from matplotlib import pyplot  # pyright: ignore[reportMissingImports]

    pyplot.rcParams.update({
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25,
        "font.size": 10, "figure.dpi": 150, "figure.constrained_layout.use": True,
    })  # fmt: skip
    return pyplot


def curves(path: Path, title: str, points: Sequence[Point]) -> None:
    """Test bits/dim by step: a line through the seeds' mean, a band from their lowest to their highest.

    Variants named "KIND (COUPLING)" share a colour by kind and a dash by coupling.
    """
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(figsize=(7, 4.2))
    names = list(dict.fromkeys(point.variant for point in points))
    kinds = list(dict.fromkeys(name.partition(" (")[0] for name in names))
    last = max(point.step for point in points)
    ends = []
    for name in names:
        steps, values = _matrix([point for point in points if point.variant == name])
        kept = steps > _SKIP * last
        steps, values = steps[kept], values[:, kept]
        colour = COLOURS[kinds.index(name.partition(" (")[0]) % len(COLOURS)]
        dash = "--" if name.endswith("(additive)") else "-"
        axes.plot(steps, values.mean(0), dash, color=colour, linewidth=1.8)
        axes.fill_between(steps, values.min(0), values.max(0), color=colour, alpha=0.15, linewidth=0)
        ends.append((float(values.mean(0)[-1]), name, colour))
    axes.margins(x=0)
    _label_ends(axes, last, ends)
    axes.set(xlabel="training step", ylabel="test bits/dim", title=title)
    _save(figure, path)


def _matrix(points: Sequence[Point]) -> tuple[np.ndarray, np.ndarray]:
    """Steps [N] and test bits/dim [seeds, N] of one variant."""
    steps = sorted({point.step for point in points})
    seeds = sorted({point.seed for point in points})
    bits = {(point.seed, point.step): point.test_bits_per_dim for point in points}
    return np.array(steps), np.array([[bits[seed, step] for step in steps] for seed in seeds])


def _label_ends(axes: Any, x: int, ends: list[tuple[float, str, str]]) -> None:
    """Name each curve where it ends, highest first, moved apart so that no two names overlap."""
    low, high = axes.get_ylim()
    gap = (high - low) / 17
    heights = []
    for value, _, _ in sorted(ends, reverse=True):
        heights.append(min(value, heights[-1] - gap) if heights else value)
    lift = max(0.0, low + gap / 2 - heights[-1])
    for (value, name, colour), height in zip(sorted(ends, reverse=True), heights, strict=True):
        axes.annotate(
            f"{name}  {value:.3f}", (x, value), (1.05, height + lift), textcoords=axes.get_yaxis_transform(),
            color=colour, va="center", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "relpos": (0, 0.5), "shrinkA": 1, "shrinkB": 0, "color": colour, "lw": 0.6},
        )  # fmt: skip


def temperatures(
    path: Path,
    title: str,
    pictures: np.ndarray,
    lines: dict[str, tuple[np.ndarray, np.ndarray, float]],
    attribution: str = "",
) -> None:
    """Samples by temperature beside what is measured of them.

    Args:
      path: of the PNG.
      title: above all.
      pictures: uint8 [T, N, H, W, 3], a row of samples per temperature.
      lines: by the name of what is measured: temperatures [T], values [seeds, T], and the test images' value.
      attribution: the data set's, written below and into the file.
    """
    pyplot = _pyplot()
    count, columns, side = pictures.shape[:3]
    figure = pyplot.figure(figsize=(10, 5.4))
    left, right = figure.subfigures(1, 2, width_ratios=(1.25, 1))
    axes = left.subplots()
    canvas = np.pad(pictures, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), constant_values=255)
    canvas = canvas.transpose(0, 2, 1, 3, 4).reshape(count * (side + 2), columns * (side + 2), 3)
    axes.imshow(canvas, interpolation="nearest")
    axes.set(xticks=[], ylabel="temperature", title=title)
    temperature = next(iter(lines.values()))[0]
    axes.set_yticks((np.arange(count) + 0.5) * (side + 2), [f"{value:.1f}" for value in temperature])
    axes.grid(False)
    axes.spines[:].set_visible(False)
    panels = right.subplots(len(lines), 1, sharex=True)
    for panel, (name, (xs, values, reference)) in zip(panels, lines.items(), strict=True):
        panel.plot(xs, values.mean(0), "o-", color=COLOURS[0], markersize=3.5)
        panel.fill_between(xs, values.min(0), values.max(0), color=COLOURS[0], alpha=0.15, linewidth=0)
        panel.axhline(reference, color=COLOURS[1], linestyle="--", linewidth=1)
        panel.annotate(
            "test images", (xs[0], reference), (0, 3), textcoords="offset points", color=COLOURS[1], fontsize=8
        )
        panel.set_ylabel(name)
    panels[-1].set_xlabel("temperature")
    figure.text(0.5, -0.01, attribution, ha="center", va="top", fontsize=8)
    _save(figure, path, attribution)


def errors(path: Path, title: str, panels: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]) -> None:
    """Errors by evaluations, both logarithmic: a panel by name, in it lines by name, each named where it ends."""
    pyplot = _pyplot()
    figure, row = pyplot.subplots(1, len(panels), figsize=(10, 4.2), sharey=True)
    for axes, (name, lines) in zip(row, panels.items(), strict=True):
        for colour, (line, (xs, ys)) in zip(COLOURS, lines.items(), strict=False):
            axes.loglog(xs, ys, "o-", color=colour, markersize=3.5, linewidth=1.8, label=line)
        ticks = [5, 10, 20, 40, 80, 160, 320]
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_xlim(4.5, 1000)
        height = np.inf
        for line in sorted(axes.get_lines(), key=lambda line: -line.get_ydata()[-1]):
            height = min(line.get_ydata()[-1], height / 2)  # so that no two names overlap
            axes.text(1.15 * line.get_xdata()[-1], height, line.get_label(), color=line.get_color(), va="center")
        axes.set(xlabel="evaluations of the denoiser", title=name)
    row[0].set_ylabel("largest error")
    figure.suptitle(title)
    _save(figure, path)


def trade_off(path: Path, title: str, lines: dict[str, list[tuple[float, ...]]]) -> None:
    """Two panels over agreement: diversity, and distance to real pictures; a line per kind of guidance.

    Args:
      path: of the PNG.
      title: above both.
      lines: by the name of the guidance: scale, agreement, diversity and distance of each point, by rising scale.
    """
    pyplot = _pyplot()
    figure, panels = pyplot.subplots(1, 2, figsize=(10, 4.2))
    for colour, (name, points) in zip(COLOURS, lines.items(), strict=False):
        scales, agreement, *others = zip(*points, strict=True)
        for axes, ys in zip(panels, others, strict=True):
            axes.plot(agreement, ys, "o-", color=colour, markersize=3.5, linewidth=1.8, label=name)
            for scale, x, y in zip(scales, agreement, ys, strict=True):
                axes.annotate(f"{scale:g}", (x, y), (4, 4), textcoords="offset points", color=colour, fontsize=8)
    labels = ("distance between pictures of one caption", "distance to test pictures (MMD$^2$, times 1,000)")
    for axes, label in zip(panels, labels, strict=True):
        axes.set(xlabel="agreement: cosine of picture and caption", ylabel=label)
    panels[0].legend(title="guidance, by scale", frameon=False)
    figure.suptitle(title)
    _save(figure, path)


def _save(figure: Any, path: Path, attribution: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight", metadata={"Copyright": attribution} if attribution else None)
