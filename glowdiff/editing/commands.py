"""What the commands do with latents: from pictures, latents or noise to a labelled grid, and a line about it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from glowdiff.config.numbers import FARTHEST, HOTTEST, check_number
from glowdiff.editing.latents import add_direction, linear, scale, spherical
from glowdiff.editing.reconstruction import round_trip, told
from glowdiff.editing.vectors import AttributeVector
from glowdiff.errors import require, require_choice
from glowdiff.inference.checks import check_count, check_model, seed_key
from glowdiff.inference.model import Model
from glowdiff.inference.request import check
from glowdiff.inference.stages import enlarged
from glowdiff.method import Latents, Method, row
from glowdiff.pictures.files import check_cells, to_display
from glowdiff.pictures.inputs import Pictures
from glowdiff.pictures.labelled import SIDE, labelled_grid

THERE_AND_BACK = ("reconstruct", "interpolate", "attribute")  # what takes latents of given images
BY_NOISE = ("inpaint", "sdedit")  # what only models can do that make images out of noise step by step
MODES: dict[str, Callable[[Latents, Latents, float], Latents]] = {"linear": linear, "spherical": spherical}


class Result(NamedTuple):
    """A picture uint8 [H, W, 3], and what it shows in a few words."""

    picture: np.ndarray
    what: str


def check_method(command: str, name: str, method: Method) -> None:
    """Raise `ConfigError` unless a method, called `name`, can do what a command asks."""
    draws, refused = method.draws, f"{command} does not work with method {name}"
    require(draws is not None, f"{refused}, which draws no samples.")
    assert draws is not None
    require(
        command not in THERE_AND_BACK or draws.encode is not None, f"{refused}, which has no latents of given images."
    )
    require(command not in BY_NOISE or "strength" in draws.options, f"{refused}: diffusion models edit images so.")
    require(
        command in BY_NOISE or enlarged(method.takes) is None,
        f"{command} does not work with a super-resolution model: what its latents decode to depends on a small image.",
    )


def reconstruct(model: Model, pictures: Pictures, *, footer: str = "", allow_nonfinite: bool = False) -> Result:
    """Images, what their latents decode to, and the amplified difference; the error in the line.

    Raises:
      ConfigError: decoding overflows, and that is not allowed.
    """
    check_size(model, 3, len(pictures.images))
    assert model.method.draws is not None
    levels, coarsen = model.spec.levels, model.method.draws.coarsen
    back = round_trip(model, pictures.images, label=pictures.labels)
    lost = [name for name, x in zip(pictures.names, back.error, strict=True) if not np.isfinite(x).all()]
    require(
        allow_nonfinite or not lost,
        f"decoding the latents of {', '.join(lost)} overflows, so there is no reconstruction to show. Another "
        "checkpoint (--step), the raw parameters (--noema) or longer training may help.",
    )
    shown = np.nan_to_num(back.error * (coarsen * 255 / (levels - 1)), nan=255, posinf=255)
    factor = _amplification(float(shown.max()))
    difference = np.clip(np.round(shown * factor), 0, 255).astype(np.uint8)
    rows = np.stack([to_display(pictures.images, levels), to_display(back.images, levels), difference])
    labels = ["image", "reconstruction", f"difference x {factor:,}"]
    picture = labelled_grid(rows, 256, rows=labels, columns=pictures.names, footer=footer)
    when = "before rounding" if back.unrounded else "after rounding"
    images = count_of(len(pictures.images), "image")
    return Result(
        picture,
        f"{images} reconstructed, error {when} {back.error.max():.2g} levels at most, "
        f"{back.error.mean():.2g} on average, {100 * back.exact:.4g}% of the pixels exact",
    )


def interpolate(
    model: Model,
    pictures: Pictures,
    *,
    mode: str = "linear",
    steps: int = 7,
    footer: str = "",
    allow_nonfinite: bool = False,
) -> Result:
    """Rows from the first to the second, from the third to the fourth image ...; both ends are reconstructions.

    A class-conditional model decodes the first half of a row with the label of its first image, the rest with the
    other's.
    """
    check_size(model, len(pictures.images) // 2, check_count("steps", steps))
    require_choice("mode", mode, MODES)
    latents = model.encode(pictures.images, **told(model, pictures.labels))
    first, second = (jax.tree.map(lambda x, i=i: x[i::2], latents) for i in (0, 1))
    weights = np.linspace(0, 1, steps)

    def at(t: float) -> np.ndarray:
        label = None if pictures.labels is None else pictures.labels[0 if t <= 0.5 else 1 :: 2]
        return model.decode(MODES[mode](first, second, t), allow_nonfinite=allow_nonfinite, **told(model, label))

    images = np.stack([at(float(t)) for t in weights], axis=1)
    names = [f"{a}\nto {b}" for a, b in zip(pictures.names[::2], pictures.names[1::2], strict=True)]
    picture = labelled_grid(images, model.spec.levels, rows=names, columns=numbers(weights), corner=mode, footer=footer)
    return Result(picture, f"{count_of(len(names), f'{mode} interpolation')} in {steps} steps")


def temperature(
    model: Model,
    count: int,
    temperatures: Sequence[float],
    *,
    seed: int = 0,
    label: np.ndarray | None = None,
    footer: str = "",
    allow_nonfinite: bool = False,
) -> Result:
    """Rows of one noise each, at rising temperatures; class-conditional models draw `label` int [count] or any."""
    check_size(model, check_count("count", count), len(temperatures))
    for each in temperatures:
        check_number("a temperature", each, low=0, high=HOTTEST)
    assert model.method.draws is not None
    latents = model.method.draws.latents(seed_key(seed), count)
    names = [f"noise {number}" for number in range(count)]
    if known := row(model.method.takes, "label"):
        drawn = np.random.default_rng(seed).integers(known.values, size=count)
        label = check(known, drawn if label is None else label, count)
        names = [f"{model.spec.classes[int(c)]} ({name})" for c, name in zip(label, names, strict=True)]
    own = {**told(model, label), "allow_nonfinite": allow_nonfinite}
    images = np.stack([model.decode(scale(latents, t), **own) for t in temperatures], axis=1)
    picture = labelled_grid(
        images, model.spec.levels, rows=names, columns=numbers(temperatures), corner="temperature", footer=footer
    )
    return Result(picture, f"{count_of(count, 'noise')} at temperatures {' '.join(numbers(temperatures))}")


def attribute(
    model: Model,
    pictures: Pictures,
    vector: AttributeVector,
    alphas: Sequence[float],
    *,
    factor: float = 1.0,
    footer: str = "",
    allow_nonfinite: bool = False,
) -> Result:
    """Rows of one image each, moved by alpha * factor times the vector; every image keeps its own label."""
    check_size(model, len(pictures.images), len(alphas))
    for each in (factor, *alphas):
        check_number("alpha, or its factor,", each, low=-FARTHEST, high=FARTHEST)
    label = told(model, pictures.labels)
    latents = model.encode(pictures.images, **label)
    own = {**label, "allow_nonfinite": allow_nonfinite}
    moved = [model.decode(add_direction(latents, vector.direction, factor * alpha), **own) for alpha in alphas]
    picture = labelled_grid(
        np.stack(moved, axis=1),
        model.spec.levels,
        rows=pictures.names,
        columns=numbers(alphas),
        corner=f"attribute {vector.attribute}\nalpha",
        footer=footer,
    )
    among = f", all of them {vector.among}" if vector.among else ""
    return Result(
        picture,
        f"{count_of(len(pictures.images), 'image')} moved along {vector.attribute} "
        f"({vector.images_with:,} training images with it, {vector.images_without:,} without{among})",
    )


def check_size(model: Model, rows: int, columns: int) -> None:
    """Raise `ConfigError` unless a grid of a model's images could be looked at."""
    height, width, _ = check_model("model", model).spec.shape
    check_cells(f"{rows:,} rows of {columns:,}", rows * columns, (max(SIDE, height), max(SIDE, width)))


def _amplification(largest: float) -> int:
    """The power of ten that makes a difference of at most `largest` (of 255) visible."""
    return 10 ** max(0, math.floor(math.log10(255 / largest))) if largest > 0 else 1


def numbers(values: Sequence[float] | np.ndarray) -> list[str]:
    """Numbers as people write them, with two digits at most."""
    return [f"{round(float(value), 2) + 0.0:g}" for value in values]


def count_of(n: int, what: str) -> str:
    """`1 image`, `2 images`."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
