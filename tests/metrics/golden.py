"""Reading the golden files of distances and scores."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from tests.importers.golden import FOLDER


def load(name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays by name, and what a file says of itself."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        arrays = dict(file)
    return arrays, json.loads(str(arrays.pop("spec")))


def cases(arrays: dict[str, np.ndarray], pattern: str) -> list[str]:
    """What stands for CASE in the names of arrays such as `out_CASE_exact`."""
    before, after = pattern.split("CASE")
    return [
        name.removeprefix(before).removesuffix(after)
        for name in arrays
        if name.startswith(before) and name.endswith(after)
    ]
