"""Reading the golden files: what the original implementations compute for weights that anyone can regenerate."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import glowdiff
from glowdiff.config.sections import Config
from glowdiff.diffusion.build import classifying_module, denoising_module
from glowdiff.importers.family import Family, Request, configuration, load
from glowdiff.sharding import Platform
from glowdiff.spec import DataSpec

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


def load_features(name: str) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, np.ndarray]]:
    """Arrays as they are, arguments and weights of a feature network's golden."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        arrays = dict(file)
    spec = json.loads(str(arrays.pop("spec")))
    return (
        arrays,
        spec["config"],
        {key: _feature_weight(name, key, tuple(shape)) for key, shape in spec["manifest"].items()},
    )


def _feature_weight(name: str, key: str, shape: tuple[int, ...]) -> np.ndarray:
    weight = random_weight(key, shape)
    if key.endswith("running_var"):
        return abs(weight) + 1
    if name == "inception_fid" and len(shape) == 4:  # else no image would reach the features
        wide = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape).astype(np.float32)
        return wide * np.float32(np.sqrt(2 / np.prod(shape[1:])))
    return weight + np.float32(len(shape) == 1 and key.endswith(".weight"))


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
    module = module_of(model.config, model.spec)
    cond = {"label": arrays["in_y"].astype(np.int32)} if "in_y" in arrays else {}
    if "in_low_res" in arrays:
        cond["low_res"] = arrays["in_low_res"]
    with jax.default_matmul_precision("highest"):
        found = np.asarray(jax.jit(module.apply)(model.variables, arrays["in_x"], arrays["in_t"], cond))
    return found, arrays["out_logits"] if "out_logits" in arrays else arrays["out_y"]


def module_of(config: Config, spec: DataSpec) -> Any:
    """The network of a configuration, in float32."""
    build = classifying_module if config.method == "classifier" else denoising_module
    return build(config.model, spec, "float32", platform=Platform("cpu"))


def described(family: Family, values: dict[str, Any], **options: Any) -> tuple[Config, DataSpec]:
    """The configuration and the data of a dictionary of flags; options are the fields of `Request`."""
    flags = family.parse(values)
    config = configuration(family, flags, Request(**options))
    return config, family.spec(flags, config.data.name)


def check(
    family: Family, flags: dict[str, Any], kind: type[np.generic] = np.float32, **files: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """The module and the shapes of its variables, of the weights' shapes in each file and without their memory.

    Layers are stacked: where they are large, a `kind` of one byte is the quickest.
    """
    weights = {
        name: {key: np.broadcast_to(kind(), shape) for key, shape in shapes.items()} for name, shapes in files.items()
    }
    return load(family, family.parse(flags), weights, lambda array: jax.ShapeDtypeStruct(array.shape, jnp.float32))


def released(manifests: str = "released_manifests") -> dict[str, Any]:
    """What is known of released checkpoints (ADM's and GLIDE's), by name: flags, keys with shapes, parameters."""
    with gzip.open(FOLDER / f"{manifests}.json.gz") as file:
        return json.load(file)
