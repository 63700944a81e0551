"""Which images of the test set are edited."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from glowdiff.data.dataset import Dataset
from glowdiff.data.sources import Example
from glowdiff.editing.attributes import Belongs
from glowdiff.errors import ConfigError, require
from glowdiff.pictures.inputs import Pictures
from glowdiff.spec import DataSpec


def from_test_set(dataset: Dataset, rows: Sequence[int]) -> Pictures:
    """Images of the test set, named by caption or class, and by row.

    Raises:
      ConfigError: there is no such row.
    """
    size = len(dataset.test)
    for row in rows:
        require(0 <= row < size, f"--index: {row} does not exist; {dataset.spec.name} has test images 0 to {size - 1}.")
    examples: list[Example] = [dataset.test[row] for row in rows]
    labels = [example["cond"]["label"] for example in examples if "label" in example["cond"]]
    return Pictures(
        np.stack([example["image"] for example in examples]),
        np.asarray(labels, np.int32) if labels else None,
        [_name(example, row, dataset.spec) for example, row in zip(examples, rows, strict=True)],
    )


def choose_rows(dataset: Dataset, count: int, seed: int, keep: Sequence[Belongs] = ()) -> list[int]:
    """Rows of `count` test images, drawn by `seed`, of which every function in `keep` holds.

    Raises:
      ConfigError: there are fewer.
    """
    rows: list[int] = []
    for row in np.random.default_rng(seed).permutation(len(dataset.test)).tolist():
        if all(belongs(dataset.test[row]) for belongs in keep):
            rows.append(row)
        if len(rows) == count:
            return rows
    what = "test images that --among and --without leave" if keep else "test images"
    raise ConfigError(f"{count} {what} are needed, but {dataset.spec.name} has {len(rows)}: choose a smaller --count.")


def _name(example: Example, row: int, spec: DataSpec) -> str:
    if "caption" in example:
        return f"test {row}: {example['caption']}"  # long ones are cut off at their end
    if "label" in example["cond"] and spec.classes:
        return f"{spec.classes[int(example['cond']['label'])]} (test {row})"
    return f"test {row}"
