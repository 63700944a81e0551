"""A CLIP small enough for tests, and captioned noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from glowdiff.catalog.methods import build_method
from glowdiff.config.sections import Config
from glowdiff.method import Method
from glowdiff.spec import DataSpec
from tests import small

SPEC = DataSpec("openmoji", (8, 8, 3), 256, 64, 16, captions=True)
SMALL = {
    "model.process.timesteps": 20, "model.network.patch": 4, "model.network.width": 16, "model.network.layers": 2,
    "model.network.heads": 2, "model.network.embedding": 8, "model.text.context": 6, "model.text.width": 16,
    "model.text.layers": 2, "model.text.heads": 2, "model.text.vocab_size": 30,
}  # fmt: skip


def config(**changes: Any) -> Config:
    """Changes are keys with `__` for the dots."""
    return small.config("clip", SMALL, changes)


def method(**changes: Any) -> Method:
    return build_method(config(**changes), SPEC)


def batch(size: int, seed: int = 0) -> dict[str, Any]:
    """Random pictures; captions of 1 to 6 tokens, of which the last two are equal but for what pads them."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, 30, (size, 6)).astype(np.int32)
    length = rng.integers(1, 7, size)
    length[-2:] = 3
    tokens[-1, :3] = tokens[-2, :3]
    return {
        "image": rng.integers(0, 256, (size, *SPEC.shape), dtype=np.uint8),
        "cond": {"tokens": tokens, "mask": np.arange(6)[None] < length[:, None]},
        "noise": rng.standard_normal((size, *SPEC.shape)).astype(np.float32),
        "index": np.arange(size, dtype=np.int32),
        "mask": np.ones(size, bool),
    }
