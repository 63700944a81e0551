"""A CLIP small enough for tests, and captioned noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from glowdiff.catalog.methods import build_method
from glowdiff.catalog.parse import defaults, parse
from glowdiff.config.sections import Config
from glowdiff.method import Method
from glowdiff.spec import DataSpec

SPEC = DataSpec("openmoji", (8, 8, 3), 256, 64, 16, captions=True)
MODEL = {
    "timesteps": 20, "patch": 4, "image_width": 16, "image_layers": 2, "image_heads": 2, "text_context": 6,
    "text_width": 16, "text_layers": 2, "text_heads": 2, "embedding": 8, "vocab_size": 30,
}  # fmt: skip


def config(**changes: Any) -> Config:
    """Changes are keys with `__` for the dots."""
    settings = defaults("clip")
    settings.model.update(MODEL)
    for key, value in changes.items():
        section, _, name = key.rpartition("__")
        setattr(settings[section] if section else settings, name, value)
    return parse(settings)


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
