"""Whether guided diffusion draws the digit that was asked for, in the eyes of a classifier of real digits.

`python benchmarks/studies/digits_guidance.py --workdir=runs/ddpm_digits --classifier=runs/classifier_digits`, trained
with configs/ddpm/digits.py and configs/adm/classifier_digits.py. A support vector machine of scikit-learn, trained on
the real training digits, names each sample. Unguided samples have no label: their histogram should be the data's.
Distances to the nearest training digit, beside those of the test digits, tell copies from new digits.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from sklearn.svm import SVC

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import glowdiff
from benchmarks.main import run_main
from benchmarks.report import print_json, print_rows
from glowdiff.cli.main import initialize
from glowdiff.data.dataset import load
from glowdiff.data.sources import Source
from glowdiff.pictures.files import write_png
from glowdiff.pictures.labelled import labelled_grid

_WORKDIR = flags.DEFINE_string("workdir", None, "A run of configs/ddpm/digits.py.", required=True)
_CLASSIFIER = flags.DEFINE_string("classifier", None, "A run of configs/adm/classifier_digits.py.", required=True)
_NUM = flags.DEFINE_integer("num", 1_000, "Samples of each kind.", lower_bound=10)
_OUT = flags.DEFINE_string("out", None, "Where to write a grid of guided digits.")

UNLABELLED = "no label, unguided"
# Options of `Model.draw`. Scale 0 is the model without a label: then only the classifier knows what is asked for.
KINDS: dict[str, dict[str, Any]] = {
    UNLABELLED: {"label": "none", "guidance_scale": 1.0},
    "label": {"guidance_scale": 1.0},
    "label, classifier-free guidance 2": {"guidance_scale": 2.0},
    "label, classifier-free guidance 4": {"guidance_scale": 4.0},
    "no label, classifier 1": {"guidance_scale": 0.0, "classifier_scale": 1.0},
    "no label, classifier 4": {"guidance_scale": 0.0, "classifier_scale": 4.0},
    "no label, classifier 4, ancestral, 100 steps": {
        "guidance_scale": 0.0,
        "classifier_scale": 4.0,
        "sampler": "ancestral",
        "steps": 100,
        "spacing": "even",
    },
    "label, classifier 2": {"guidance_scale": 1.0, "classifier_scale": 2.0},
}


def main(argv: list[str]) -> None:
    """Draw, classify, print, and write the grid."""
    del argv
    initialize()
    model, guide = glowdiff.load(_WORKDIR.value), glowdiff.load(_CLASSIFIER.value)
    dataset = load(model.config.data)
    (train, train_labels), (test, test_labels) = pixels(dataset.train), pixels(dataset.test)
    judge = SVC(gamma=0.001).fit(train, train_labels)  # pyright: ignore[reportArgumentType]
    labels = np.arange(_NUM.value) % 10
    rows = [
        {
            "digits": "test set",
            "as asked": float((judge.predict(test) == test_labels).mean()),
            "histogram off by": histogram_distance(test_labels, train_labels),
            **distances(test, train),
        }
    ]
    for kind, options in KINDS.items():
        label = options.get("label", labels)
        guides = [(guide, options["classifier_scale"])] if "classifier_scale" in options else []
        rest = {name: value for name, value in options.items() if name not in ("label", "classifier_scale")}
        images = model.sample(jax.random.key(0), _NUM.value, label=label, guides=guides, **rest)
        flat = images.reshape(len(images), -1).astype(float)
        names = judge.predict(flat)
        rows.append(
            {
                "digits": kind,
                "as asked": None if kind == UNLABELLED else float((names == labels).mean()),
                "histogram off by": histogram_distance(names, train_labels),
                **distances(flat, train),
            }
        )
    print_rows(f"{_NUM.value} digits each, {model.config.sampling.sampler}, {model.config.sampling.steps} steps", rows)
    if _OUT.value:
        write_png(_OUT.value, picture(model))
    print_json({"digits": rows})


def picture(model: glowdiff.Model) -> np.ndarray:
    """A row of digits for each scale, a column for each label, the same noise in all rows."""
    scales = (0.0, 1.0, 2.0, 4.0)
    columns = np.repeat(np.arange(10), 2)
    images = [model.sample(jax.random.key(1), 20, label=columns, guidance_scale=scale) for scale in scales]
    names = ["no label", *(f"scale {scale:g}" for scale in scales[1:])]
    return labelled_grid(np.stack(images), model.spec.levels, rows=names, columns=[str(label) for label in columns])


def pixels(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """All images [N, pixels] as floats, and labels."""
    examples = [source[i] for i in range(len(source))]
    images = np.stack([example["image"] for example in examples])
    return images.reshape(len(images), -1).astype(float), np.array([example["cond"]["label"] for example in examples])


def histogram_distance(labels: np.ndarray, others: np.ndarray) -> float:
    """Total variation between two histograms of labels: the share that would have to be of another class."""
    mine, theirs = (np.bincount(each, minlength=10) / len(each) for each in (labels, others))
    return float(np.abs(mine - theirs).sum() / 2)


def distances(images: np.ndarray, train: np.ndarray) -> dict[str, float]:
    """Root mean square distances, in levels, to the nearest training digit: median and the first percentile."""
    squares = (images**2).sum(1)[:, None] - 2 * images @ train.T + (train**2).sum(1)[None]
    nearest = np.sqrt(np.maximum(squares.min(1), 0) / images.shape[1])
    return {"nearest, median": float(np.median(nearest)), "nearest, 1 %": float(np.percentile(nearest, 1))}


if __name__ == "__main__":
    run_main(main)
