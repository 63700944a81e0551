"""What lowering the temperature does to a trained Glow's samples (Glow, section 3.3 and figure 8)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.studies.ablation.runs import folder, seeded
from benchmarks.studies.ablation.variants import Variant
from glowdiff.data.dataset import load as load_data
from glowdiff.inference.model import load
from glowdiff.pictures.files import to_display

TEMPERATURES = tuple(round(0.1 * i, 1) for i in range(11))
_SAMPLES = 256
_SHOWN = 12


class Row(NamedTuple):
    """Means over the samples of one run at one temperature: a line of the figure's CSV."""

    temperature: float
    seed: int | None  # None: a mean over seeds
    bits_per_dim: float  # of the model's own samples, under the model
    contrast: float  # see `contrast`
    variation: float  # see `variation`


class Measured(NamedTuple):
    """What the figure needs."""

    rows: list[Row]
    test: Row  # of the test images, at temperature "nan", means over the models
    pictures: np.ndarray  # uint8 [T, N, H, W, 3], of the first seed
    attribution: str  # of the data, see `DataSpec`


def contrast(images: np.ndarray, levels: int) -> float:
    """Mean over images of their pixels' standard deviation, where black to white is 1."""
    return float((images / (levels - 1)).std(axis=(1, 2)).mean())


def variation(images: np.ndarray, levels: int) -> float:
    """Mean absolute difference of neighbouring pixels (total variation per pixel), where black to white is 1."""
    scaled = images / (levels - 1)
    down, right = (np.abs(np.diff(scaled, axis=axis)).mean() for axis in (1, 2))
    return float((down + right) / 2)


def measure(variant: Variant, seeds: Sequence[int], out: Path) -> Measured:
    """Draw from the trained runs of `variant` at every temperature; a column of pictures keeps its latents."""
    rows, test, pictures, attribution = [], [], [], ""
    for seed in seeds:
        config = seeded(variant, seed)
        model = load(out / folder(config))
        levels, attribution = model.spec.levels, model.spec.attribution
        dataset = load_data(config.data)
        held_out = np.stack([dataset.test[i]["image"] for i in range(len(dataset.test))])
        test.append(_row(model, held_out, float("nan"), seed))
        for temperature in TEMPERATURES:
            images = model.sample(jax.random.key(0), _SAMPLES, temperature=temperature, batch=64)
            rows.append(_row(model, images, temperature, seed))
            if seed == seeds[0]:
                shown = to_display(images[:_SHOWN], levels)
                pictures.append(np.broadcast_to(shown, (*shown.shape[:3], 3)))
        print(f"seed {seed}: {len(TEMPERATURES)} temperatures, {_SAMPLES} samples each", flush=True)
    return Measured(rows, _mean(test), np.stack(pictures), attribution)


def _row(model: Any, images: np.ndarray, temperature: float, seed: int) -> Row:
    batches = [images[i : i + 64] for i in range(0, len(images), 64)]
    bits = np.concatenate([model.bits_per_dim(batch) for batch in batches])
    levels = model.spec.levels
    return Row(temperature, seed, float(bits.mean()), contrast(images, levels), variation(images, levels))


def _mean(rows: Sequence[Row]) -> Row:
    """The mean of rows of one temperature over their seeds."""
    return Row(*np.mean(np.array(rows, np.float64), axis=0).tolist())._replace(seed=None)


def table(measured: Measured) -> str:
    """A row per temperature, and the test images last; means over seeds."""
    lines = ["| temperature | bits/dim of the samples | contrast | variation |", "|---|---|---|---|"]
    for temperature in TEMPERATURES:
        rows = [row for row in measured.rows if row.temperature == temperature]
        lines.append(_line(f"{temperature:.1f}", _mean(rows)))
    return "\n".join([*lines, _line("test images", measured.test)])


def _line(name: str, row: Row) -> str:
    return f"| {name} | {row.bits_per_dim:.3f} | {row.contrast:.3f} | {row.variation:.3f} |"


def lines(measured: Measured) -> dict[str, tuple[np.ndarray, np.ndarray, float]]:
    """What `benchmarks.studies.ablation.plots.temperatures` draws."""
    seeds = list(dict.fromkeys(row.seed for row in measured.rows))
    names = {"bits/dim": "bits_per_dim", "contrast": "contrast", "variation": "variation"}
    return {
        name: (
            np.array(TEMPERATURES),
            np.array([[getattr(row, field) for row in measured.rows if row.seed == seed] for seed in seeds]),
            getattr(measured.test, field),
        )
        for name, field in names.items()
    }
