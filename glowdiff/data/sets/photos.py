"""Crops of the photographs inside the wheels of scikit-image and scikit-learn: colour pictures without a download.

Training crops come from seven pictures (coffee, flower, Hubble's deep field, a stained tissue, two views of one
motorcycle, a retina) at their size and at half of it, one every 16 pixels, so that they overlap. Test crops come from
four others (astronaut, chelsea, china, rocket), at both sizes too, and do not overlap. At 32 pixels: 13,059 and 1,114.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from glowdiff.config.sections import DataConfig
from glowdiff.data import records
from glowdiff.data.store import data_dir, prepare_once
from glowdiff.errors import ConfigError
from glowdiff.spec import DataSpec

VERSION = "1.0.0"
SIZES = (16, 32, 64)
DEFAULT_SIZE = 32
TRAIN_STRIDE = 16
LARGEST_SIDE = 1000  # pictures beyond it are halved first: the retina is big, dull, and would be half of the set

# Left and right motorcycle are one scene, so they stay on the same side.
TRAIN = (
    "skimage/data/coffee.png",
    "skimage/data/hubble_deep_field.jpg",
    "skimage/data/ihc.png",
    "skimage/data/motorcycle_left.png",
    "skimage/data/motorcycle_right.png",
    "skimage/data/retina.jpg",
    "sklearn/datasets/images/flower.jpg",
)
TEST = (
    "skimage/data/astronaut.png",
    "skimage/data/chelsea.png",
    "skimage/data/rocket.jpg",
    "sklearn/datasets/images/china.jpg",
)


def prepare(config: DataConfig) -> Path:
    """The directory of the crops of `config.size` pixels (None: 32), written unless it is there.

    Raises:
      ConfigError: for another size than 16, 32 or 64.
    """
    side = DEFAULT_SIZE if config.size is None else config.size
    if side not in SIZES:
        raise ConfigError(f"data.size is {side}; photos come as crops of {', '.join(map(str, SIZES))} pixels.")
    target = data_dir(config.dir) / "photos" / f"{side}-{VERSION}"
    return prepare_once(target, lambda scratch: _write(scratch, side))


def _write(scratch: Path, side: int) -> Path:
    spec = DataSpec("photos", (side, side, 3), 256, 0, 0)
    splits = {
        "train": crops(TRAIN, side, TRAIN_STRIDE),
        "test": crops(TEST, side, max(side, DEFAULT_SIZE)),  # crops of 16 leave gaps, so there are no more than at 32
    }
    return records.write(scratch, spec, splits)


def crops(names: Sequence[str], side: int, stride: int) -> Iterator[records.Item]:
    """Yield the crops of `side` pixels, one every `stride`, of the pictures `names` at full and at half size."""
    for name in names:
        picture = _open(name)
        if max(picture.size) > LARGEST_SIDE:
            picture = picture.reduce(2)
        for scaled in (picture, picture.reduce(2)):
            pixels = np.asarray(scaled)
            for top in range(0, pixels.shape[0] - side + 1, stride):
                for left in range(0, pixels.shape[1] - side + 1, stride):
                    yield records.Item(pixels[top : top + side, left : left + side])


def _open(name: str) -> Image.Image:
    """A picture of an installed package, found without importing it."""
    package, _, file = name.partition("/")
    module = importlib.util.find_spec(package)
    path = Path(module.origin).parent / file if module and module.origin else None
    if path is None or not path.is_file():
        wheel = {"skimage": "scikit-image", "sklearn": "scikit-learn"}[package]
        raise ConfigError(
            f"photos needs {file}, which is missing from the installed {wheel}; "
            f"reinstall it: pip install --force-reinstall {wheel}"
        )
    with Image.open(path) as picture:
        return picture.convert("RGB")
