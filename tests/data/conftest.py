"""Data sets small enough to be prepared in each test."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glowdiff.config.sections import DataConfig
from glowdiff.data.dataset import Dataset, load
from tests.pictures import kinds


@pytest.fixture(scope="session")
def store() -> str:
    """A data directory shared by all tests that do not look into it."""
    return os.environ["GLOWDIFF_DATA"]


@pytest.fixture(scope="session")
def digits(store) -> Dataset:
    return load(DataConfig(name="digits", dir=store))


@pytest.fixture(scope="session")
def photos(store) -> Dataset:
    return load(DataConfig(name="photos", size=16, dir=store))


def save_pictures(folder: Path, count: int, *, size: tuple[int, int] = (kinds.SIDE, kinds.SIDE), seed: int = 0) -> None:
    """Write `count` RGB PNGs of width and height `size`, all different, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for index in range(count):
        pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:03d}.png")
