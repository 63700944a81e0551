"""Does the vector of dark skin darken skin? `python benchmarks/studies/skin_tone.py --workdir=runs/openmoji`.

The vector of `dark_skin` among people with a skin tone, from the training images, is added to the latents of held-out
people. Per alpha: the mean brightness of the pixels that were skin, over all these pictures, and the share of pictures
that got darker since the alpha before. OpenMoji paints each of its five tones in one colour, which tells where skin is.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import glowdiff
from benchmarks.main import run_main
from benchmarks.report import print_json, print_rows
from glowdiff.cli.edit_flags import read_range
from glowdiff.data import dataset as datasets
from glowdiff.editing.latents import add_direction
from glowdiff.editing.vectors import attribute_vector
from glowdiff.errors import ConfigError

_WORKDIR = flags.DEFINE_string("workdir", None, "A run of configs/glow/openmoji32.py.", required=True)
_ALPHA = flags.DEFINE_string("alpha", "-1:1:7", "START:STOP:N.")
_SCALE = flags.DEFINE_float("scale", 1.0, "What alpha is multiplied by.")
_STEP = flags.DEFINE_integer("step", None, "A checkpoint's; default: the newest.")
SKIN = ((250, 220, 188), (222, 187, 144), (193, 154, 101), (165, 121, 57), (106, 70, 47))  # light to dark
NEAR = 24  # a pixel is skin if each channel is so close to one of them
ENOUGH = 20  # pixels of skin below which a picture says nothing
LUMA = (0.299, 0.587, 0.114)


def main(argv: list[str]) -> None:
    """Edit, measure, print."""
    del argv
    model = glowdiff.load(_WORKDIR.value, step=_STEP.value)
    if "dark_skin" not in model.spec.attributes:
        raise ConfigError(f"{model.spec.name} has no attribute dark_skin; train configs/glow/openmoji32.py.")
    dataset = datasets.load(model.config.data)
    vector = attribute_vector(model, dataset, "dark_skin", among="has_skin_tone")
    images, skin = people(dataset)
    latents = model.encode(images)
    columns = []
    for alpha in read_range("--alpha", _ALPHA.value):
        moved = add_direction(latents, vector.direction, alpha * _SCALE.value)
        columns.append((alpha, brightness(model.decode(moved), skin)))
    rows, before = [], None
    for alpha, each in columns:
        darker = None if before is None else round(float((each < before).mean()), 3)
        rows.append({"alpha": round(alpha, 3), "mean brightness": round(float(each.mean()), 2), "darker": darker})
        before = each
    means = [row["mean brightness"] for row in rows]
    monotone = bool((np.diff(means) < 0).all())
    print_rows(f"{len(images)} held-out people, step {model.step}; brightness of their skin, 0 to 255:", rows)
    print(f"\nMonotone in alpha: {'yes' if monotone else 'no'}.")
    print_json({"people": len(images), "step": model.step, "rows": rows, "monotone": monotone})


def people(dataset: datasets.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Held-out pictures [N, H, W, 3] of people with a skin tone, and where their skin is, bool [N, H, W]."""
    tone = dataset.spec.attributes.index("has_skin_tone")
    examples = (dataset.test[i] for i in range(len(dataset.test)))
    images = np.stack([example["image"] for example in examples if example["attributes"][tone]])
    near = [(np.abs(images.astype(int) - np.array(colour)) <= NEAR).all(-1) for colour in SKIN]
    skin = np.any(near, axis=0)
    shown = skin.sum((1, 2)) >= ENOUGH
    return images[shown], skin[shown]


def brightness(images: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean luma of the masked pixels of each picture: [N]."""
    luma = images.astype(np.float64) @ np.array(LUMA)
    return (luma * mask).sum((1, 2)) / mask.sum((1, 2))


if __name__ == "__main__":
    run_main(main)
