"""Reading the golden files: what the original implementations compute for weights that anyone can regenerate."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

import glowdiff
from glowdiff.diffusion.build import classifier_module, unet_module

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


def load_clip() -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, dict[str, np.ndarray]]]:
    """Arrays (channels last), constructor's arguments, and the weights of both towers of the golden CLIP."""
    with np.load(FOLDER / "glide_noised_clip.npz", allow_pickle=False) as file:
        arrays = dict(file)
    spec = json.loads(str(arrays.pop("spec")))
    arrays = {key: np.moveaxis(array, 1, -1) if array.ndim == 4 else array for key, array in arrays.items()}
    weights = {
        tower: {
            key: random_weight(key, tuple(shape)) + np.float32(len(shape) == 1 and key.endswith(".g"))
            for key, shape in spec["manifest"][f"{tower}_encoder"].items()
        }
        for tower in ("text", "image")
    }
    return arrays, spec["config"], weights


def network_output(model: glowdiff.Model, arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What the network of an imported ADM model makes of a golden's input, and what the original does."""
    build = classifier_module if model.config.method == "classifier" else unet_module
    module = build(model.config.model, model.spec, model.config.dtype)
    cond = {"label": arrays["in_y"].astype(np.int32)} if "in_y" in arrays else {}
    if "in_low_res" in arrays:
        cond["low_res"] = arrays["in_low_res"]
    with jax.default_matmul_precision("highest"):
        found = np.asarray(jax.jit(module.apply)(model.variables, arrays["in_x"], arrays["in_t"], cond))
    return found, arrays["out_logits"] if "out_logits" in arrays else arrays["out_y"]


def released() -> dict[str, Any]:
    """What is known of every released ADM and GLIDE checkpoint, by name: flags, keys with shapes, parameters."""
    with gzip.open(FOLDER / "released_manifests.json.gz") as file:
        return json.load(file)
