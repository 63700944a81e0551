"""Weights and batches of random numbers, as fast as they can be made: what is timed need not be trained.

What is multiplied decides what power a chip draws, and with it its clock, so nothing here is zero.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np

_POOL = np.random.default_rng(0).standard_normal(2**22 + 7, np.float32)  # repeated in larger arrays: a prime and a bit


def random_weights(shapes: Any) -> Any:
    """Normal numbers on the device for a tree of shapes: of 1/sqrt(fan in) in kernels, around 1 in scales."""
    return jax.device_put(jax.tree.map_with_path(_leaf, shapes))


def random_state(shapes: Any) -> Any:
    """A train state for `Experiment.abstract_state()`: random weights, their average, and an optimiser at its start.

    Arrays are the host's: made on the device, each shape would be compiled for.
    """
    params = jax.tree.map_with_path(_leaf, shapes.variables["params"])
    others = {name: _zeros(tree) for name, tree in shapes.variables.items() if name != "params"}
    rest = {name: _zeros(getattr(shapes, name)) for name in ("step", "opt_state", "skipped", "skipped_in_row")}
    return shapes._replace(variables={**others, "params": params}, ema=params, key=jax.random.key(0), **rest)


def random_batch(shapes: Any, *, classes: int = 0, vocab: int = 0) -> Any:
    """Uniform pixels, labels and tokens for `Experiment.example_batch`; masks are true for the first twelve tokens."""
    rng = np.random.default_rng(0)

    def draw(path: Any, leaf: Any) -> np.ndarray:
        name = path[-1].key
        if name == "mask":
            return np.broadcast_to(np.arange(leaf.shape[1]) < 12, leaf.shape).copy()
        high = {"image": 256, "label": max(classes, 1), "tokens": vocab}[name]
        return rng.integers(high, size=leaf.shape).astype(leaf.dtype)

    return jax.tree.map_with_path(draw, shapes)


def _leaf(path: Any, leaf: Any) -> np.ndarray:
    names = [str(getattr(part, "key", part)) for part in path]
    if "permutations" in names:  # a flow that shrinks what it mixes, step after step, would soon multiply zeros
        rotation = np.linalg.qr(np.resize(_POOL, leaf.shape[-2:]))[0]
        return np.broadcast_to(rotation, leaf.shape).astype(leaf.dtype)
    if "kernel" in names[-1] and len(leaf.shape) > 1:
        fan_in = leaf.shape[1:-1] if "steps" in names else leaf.shape[:-1]  # of stacked steps each its own
        pool = _POOL / math.sqrt(math.prod(fan_in))
    else:
        pool = 0.02 * _POOL + (names[-1] == "scale")
    return np.resize(pool[: math.prod(leaf.shape)].astype(leaf.dtype), leaf.shape)


def _zeros(shapes: Any) -> Any:
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
