"""Reading the golden files: what the original implementations compute for weights that anyone can regenerate."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parents[1] / "golden"


def random_weight(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The weight that every golden file uses for `key`."""
    generator = np.random.default_rng(zlib.crc32(key.encode()))
    return generator.standard_normal(shape).astype(np.float32) * np.float32(0.05)


def load_glow(name: str) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, np.ndarray]]:
    """Arrays, flags and weights of a Glow golden."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        arrays = dict(file)
    spec = json.loads(str(arrays.pop("spec")))
    weights = {}
    for key, shape in spec["manifest"].items():
        if f"idx_{key.replace('/', '|')}" in arrays:
            weights[key] = arrays[f"idx_{key.replace('/', '|')}"]
            continue
        weights[key] = random_weight(key, tuple(shape))
        if key.endswith("invconv/W"):
            weights[key] += np.eye(shape[0], dtype=np.float32)
        if key.endswith("logs"):
            weights[key] *= np.float32(0.3)
    return arrays, spec["config"], weights


def load_torch(name: str) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, np.ndarray]]:
    """Arrays (channels last), constructor's arguments and weights of an ADM golden."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        arrays = dict(file)
    spec = json.loads(str(arrays.pop("spec")))
    arrays = {key: np.moveaxis(array, 1, -1) if array.ndim == 4 else array for key, array in arrays.items()}
    weights = {}
    for key, shape in spec["manifest"].items():
        weights[key] = random_weight(key, tuple(shape))
        if len(shape) == 1 and key.endswith((".weight", ".g")):
            weights[key] += 1
    return arrays, spec["config"], weights


def released() -> dict[str, Any]:
    """What is known of every released ADM and GLIDE checkpoint, by name: flags, keys with shapes, parameters."""
    with gzip.open(FOLDER / "released_manifests.json.gz") as file:
        return json.load(file)
