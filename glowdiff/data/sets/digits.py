"""The 1,797 handwritten digits of scikit-learn: 8x8 pixels, 17 levels, no download."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from glowdiff.config.sections import DataConfig
from glowdiff.data import records
from glowdiff.data.store import data_dir, prepare_once
from glowdiff.spec import DataSpec

VERSION = "1.0.0"
TEST_SIZE = 360
SPEC = DataSpec("digits", (8, 8, 1), 17, 1797 - TEST_SIZE, TEST_SIZE, tuple("0123456789"))


def prepare(config: DataConfig) -> Path:
    """The directory of the prepared set, written unless it is there."""
    return prepare_once(data_dir(config.dir) / "digits" / VERSION, _write)


def _write(scratch: Path) -> Path:
    from sklearn.datasets import load_digits  # takes a second to import, needed once

    bunch = load_digits()
    images = np.asarray(bunch.images).astype(np.uint8)[..., None]  # pyright: ignore[reportAttributeAccessIssue]
    labels = np.asarray(bunch.target)  # pyright: ignore[reportAttributeAccessIssue]
    test = test_rows(labels)
    splits = {"train": _items(images, labels, ~test), "test": _items(images, labels, test)}
    return records.write(scratch, SPEC, splits)


def test_rows(labels: np.ndarray) -> np.ndarray:
    """Bool [N]: the 360 test images, as many of each digit as its share allows.

    Within a digit they are evenly spaced, since neighbours were written by the same hands. No seed is involved, so
    that bits/dim can be compared between any two runs.
    """
    # Sorting by digit and taking every 1797/360-th is stratified: no digit's count is off by more than one.
    order = np.argsort(labels, kind="stable")
    picks = (np.arange(TEST_SIZE) * len(labels) + len(labels) // 2) // TEST_SIZE
    test = np.zeros(len(labels), bool)
    test[order[picks]] = True
    return test


def _items(images: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> Iterator[records.Item]:
    for image, label in zip(images[rows], labels[rows], strict=True):
        yield records.Item(image, int(label))
