"""Distances that need nothing downloaded: `python benchmarks/studies/distances.py [--glow=runs/demo]`.

In the features of EfficientNet-Lite0: emoji held out, and the same with noise on them, against emoji to train on, where
more noise must be further away; and, of a run of `make demo`, digits drawn at rising temperatures against the real
ones, where precision falls and recall rises. It also names the class of scikit-learn's two photographs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.main import run_main
from benchmarks.report import print_json, print_rows
from glowdiff.cli.main import initialize
from glowdiff.config.sections import DataConfig
from glowdiff.data import dataset as datasets
from glowdiff.importers.feature_network import find
from glowdiff.inference.model import load
from glowdiff.metrics.features import array_batches
from glowdiff.metrics.figures import METRICS, figures, needs
from glowdiff.metrics.images import Images, as_colours
from glowdiff.metrics.look import Look

_GLOW = flags.DEFINE_string("glow", None, "A run of `make demo`; without one there are no digits.")
NOISE = (0, 8, 32, 128)  # standard deviations, of pixels from 0 to 255
TEMPERATURES = (0.3, 0.5, 0.7, 0.9, 1.0)
FIGURES = {name: METRICS[name] for name in ("fd", "prdc")}


def main(argv: list[str]) -> None:
    """Measure and print."""
    del argv
    initialize()
    part = find("efficientnet_lite0").part
    look = Look(part, ["pool"], None, 64)
    tables = {"Emoji of 32x32 pixels": emoji(look)}
    if _GLOW.value:
        tables["Digits"] = digits(look, _GLOW.value)
    for title, rows in tables.items():
        print_rows(f"{title}, EfficientNet-Lite0, against those to train on:", rows)
    classes = photographs()
    print(f"\nClasses of scikit-learn's photographs, of ImageNet's: {classes}")
    print_json({**tables, "classes": classes})


def emoji(look: Look) -> list[dict[str, Any]]:
    """Held-out emoji with more and more noise."""
    dataset = datasets.load(DataConfig(name="openmoji", size=32))
    reference, held_out = (every(source, 256) for source in (dataset.train, dataset.test))
    noise = np.random.default_rng(0).normal(size=held_out.shape)
    sets = {f"held out, noise of {sigma}": held_out + sigma * noise for sigma in NOISE}
    rounded = {name: images.round().clip(0, 255).astype(np.uint8) for name, images in sets.items()}
    return compare(look, reference, {"to train on, as many": reference[:: len(reference) // len(held_out)], **rounded})


def digits(look: Look, workdir: str) -> list[dict[str, Any]]:
    """Real and drawn digits, as many of each."""
    model = load(workdir)
    dataset = datasets.load(model.config.data)
    reference, held_out = (every(source, model.spec.levels) for source in (dataset.train, dataset.test))
    sets = {"held out": held_out}
    for temperature in TEMPERATURES:
        drawn = model.sample(jax.random.key(0), len(held_out), temperature=temperature)
        sets[f"drawn at temperature {temperature}"] = as_colours(drawn, model.spec.levels)
    return compare(look, reference, sets)


def compare(look: Look, reference: np.ndarray, sets: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """A row for each set of images [N, H, W, 3]."""
    feature, wanted = look.main, needs(FIGURES, look.main)

    def seen(name: str, images: np.ndarray) -> Any:
        def batches(size: int) -> Any:
            return array_batches(size, look.mesh, image=images)

        return look(Images(name, name, len(images), images.shape[1:3], batches), wanted, name)

    known = seen("reference", reference)
    rows = []
    for name, images in sets.items():
        found = figures(FIGURES, feature, seen(name, images), known)
        rows.append(
            {"images": name, "number": len(images), **{k: v for each in found.values() for k, v in each.items()}}
        )
    return rows


def every(source: Any, levels: int) -> np.ndarray:
    """All images of a split, in colour."""
    return as_colours(np.stack([source[index]["image"] for index in range(len(source))]), levels)


def photographs() -> dict[str, int]:
    """The class that EfficientNet-Lite0 finds most probable in each."""
    from sklearn.datasets import load_sample_images

    part, photos = find("efficientnet_lite0").part, load_sample_images()
    look = Look(part, ["logits"], None, 1)
    found = {}
    for path, photo in zip(photos.filenames, photos.images, strict=True):

        def batches(size: int, photo: np.ndarray = photo) -> Any:
            return array_batches(size, look.mesh, image=photo[None])

        name = Path(path).name
        seen = look(
            Images(name, name, 1, photo.shape[:2], batches), needs({}, "logits")._replace(features=("logits",)), name
        )
        found[name] = int(seen.features["logits"].argmax())
    return found


if __name__ == "__main__":
    run_main(main)
