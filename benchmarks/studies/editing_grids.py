"""Inpainting and SDEdit with models of OpenMoji: grids to look at, and what must hold of them.

`python benchmarks/studies/editing_grids.py --base=runs/glide_openmoji --inpaint=runs/glide_inpaint`:
test pictures with a part erased, painted anew by the model that was trained for it (--inpaint, if there is one) and by
pasting into the base's steps; and sketches varied at rising strengths. Checked: known pixels come back to the level.
Measured: how far painted parts are from the picture's own, how much pixels differ across the border of what was known,
and how far SDEdit goes from its input. Writes OUT_inpaint.png, OUT_sdedit.png, OUT.md and OUT.json.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import glowdiff
from benchmarks.main import run_main
from benchmarks.report import write_report
from benchmarks.studies.emoji import UNSEEN, emoji_of
from benchmarks.studies.sketches import SKETCHES, sketches
from glowdiff.cli.main import initialize
from glowdiff.errors import require
from glowdiff.pictures.files import write_png
from glowdiff.pictures.labelled import labelled_grid

_BASE = flags.DEFINE_string("base", None, "A run of configs/glide/openmoji32_cpu.py or its like.", required=True)
_INPAINT = flags.DEFINE_string("inpaint", None, "A run of its fine-tune for inpainting.")
_NUM = flags.DEFINE_integer("num", 24, "Test pictures that are painted into.", lower_bound=1)
_EACH = flags.DEFINE_integer("each", 4, "Variations of each sketch that are measured.", lower_bound=1)
_STRENGTHS = flags.DEFINE_list("strengths", ["0.2", "0.4", "0.6", "0.7", "0.8", "0.9"], "Of SDEdit; each is compiled.")
_OUT = flags.DEFINE_string("out", "runs/editing", "Files to write, without their endings.")

ACROSS = 6  # pictures beside each other
ENLARGED = 5  # times, in the grid, so that captions fit above 32 pixels
GREY = 160  # of erased pixels, in the grid


def main(argv: list[str]) -> None:
    """Paint, vary, measure, write."""
    del argv
    initialize()
    base, out = glowdiff.load(_BASE.value), Path(_OUT.value)
    models = {"base, pasting": base}
    if _INPAINT.value:
        models = {"trained for it": glowdiff.load(_INPAINT.value)} | models
        require(models["trained for it"].config.model.inpaint, f"{_INPAINT.value} is no inpainting model.")
    out.parent.mkdir(parents=True, exist_ok=True)
    painted = inpainting(models, out)
    varied = sdedit(base, out)
    distances = [row["distance, in levels"] for row in varied]
    result = {
        "known pixels untouched": all(row["known pixels changed"] == 0 for row in painted),
        "distance grows": bool((np.diff(distances) > 0).all()),
        "inpainting": painted,
        "sdedit": varied,
    }
    tables = {
        f"Inpainting {_NUM.value} test pictures, in levels:": painted,
        f"SDEdit of {len(SKETCHES)} sketches, {_EACH.value} times each:": varied,
    }
    write_report(out, tables, result)


def inpainting(models: dict[str, glowdiff.Model], out: Path) -> list[dict[str, Any]]:
    """Paint into test pictures with each model; a row for each, and for the real pictures."""
    base = next(reversed(models.values()))
    emoji, n = emoji_of(base), _NUM.value
    captions = emoji.some(UNSEEN, n)
    real = emoji.pictures(captions)
    erased = regions(n, *real.shape[1:3])
    pictures = {"picture": real, "known": np.where(erased[..., None], np.uint8(GREY), real)}
    rows = []
    for name, model in models.items():
        images = model.sample(jax.random.key(0), n, prompt=captions, image=real, mask=erased)
        pictures[name] = images
        rows.append(
            {
                "by": name,
                "known pixels changed": int((images != real).any(-1)[~erased].sum()),
                "distance of painted pixels": distance(images[erased], real[erased]),
                "across the border": across_border(images, erased),
            }
        )
    real_row = {"by": "real pictures", "known pixels changed": 0, "distance of painted pixels": 0.0}
    rows.append({**real_row, "across the border": across_border(real, erased)})
    shown = np.stack([images[:ACROSS] for images in pictures.values()])
    write_grid(f"{out}_inpaint.png", base, shown, rows=list(pictures), columns=captions[:ACROSS])
    return rows


def sdedit(model: glowdiff.Model, out: Path) -> list[dict[str, Any]]:
    """Vary sketches; a row for each strength."""
    side = model.spec.shape[0]
    sources = sketches(side).repeat(_EACH.value, 0)
    captions = np.repeat(list(SKETCHES), _EACH.value).tolist()
    rows, columns, before = [], [sources], None
    for strength in map(float, _STRENGTHS.value):
        images = model.sample(jax.random.key(0), len(sources), prompt=captions, source=sources, strength=strength)
        each = np.array([distance(image, sketch) for image, sketch in zip(images, sources, strict=True)])
        farther = None if before is None else float((each > before).mean())
        rows.append({"strength": strength, "distance, in levels": float(each.mean()), "farther than before": farther})
        columns.append(images)
        before = each
    shown = np.stack([images[:: _EACH.value] for images in columns], 1)
    labels = ["sketch", *_STRENGTHS.value]
    write_grid(f"{out}_sdedit.png", model, shown, rows=list(SKETCHES), columns=labels, corner="strength")
    return rows


def regions(n: int, height: int, width: int) -> np.ndarray:
    """Where to paint, bool [n, height, width]: in turns the right half, the lower half, the middle, a corner."""
    masks = np.zeros((4, height, width), bool)
    masks[0, :, width // 2 :] = True
    masks[1, height // 2 :] = True
    masks[2, height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = True
    masks[3, : height // 2, : width // 2] = True
    return np.resize(masks, (n, height, width))


def distance(images: np.ndarray, others: np.ndarray) -> float:
    """Root mean square difference."""
    return float(np.sqrt(np.mean((images.astype(float) - others) ** 2)))


def across_border(images: np.ndarray, erased: np.ndarray) -> float:
    """Mean absolute difference of neighbouring pixels of which one was known and the other painted."""
    steps = []
    for axis in (1, 2):
        differences = np.abs(np.diff(images.astype(float), axis=axis)).mean(-1)
        steps.append(differences[np.diff(erased, axis=axis)])
    return float(np.concatenate(steps).mean())


def write_grid(path: str, model: glowdiff.Model, images: np.ndarray, **labels: Any) -> None:
    """A labelled grid of the model's pictures, with the data set's attribution."""
    note = model.spec.attribution
    images = images.repeat(ENLARGED, axis=2).repeat(ENLARGED, axis=3)
    write_png(path, labelled_grid(images, model.spec.levels, footer=note, **labels), attribution=note)


if __name__ == "__main__":
    run_main(main)
