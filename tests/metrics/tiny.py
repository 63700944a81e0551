"""A feature network that compiles at once and calls itself FID's Inception, and workdirs of small ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from glowdiff.networks.feature_networks import FeatureNetwork
from glowdiff.spec import DataSpec
from glowdiff.text import tokenizer as tokenizers
from glowdiff.trained import keep
from tests import small
from tests.text.conftest import CLIP

WIDTH = 5  # of its main feature


class Tiny(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        weights = self.param("weights", nn.initializers.normal(), (192, WIDTH))
        pool = jnp.tanh(x.reshape(len(x), -1) @ weights)
        return {"pool3": pool, "spatial": x[:, :1, :2], "logits": 9 * pool, "logits_unbiased": 9 * pool - 1}


@dataclass(frozen=True)
class TinyInception(FeatureNetwork):
    main = "pool3"
    side = 8

    def check(self, key: str) -> None:
        pass

    def prepare(self):
        return {"tensorflow": lambda x: x / 255.0, "clean": lambda x: x / 128.0}

    def module(self) -> Tiny:
        return Tiny()


def features(weights: np.ndarray, images: np.ndarray) -> np.ndarray:
    """`pool3` of uint8 [N, 8, 8, 3]."""
    return np.tanh((images / np.float32(255)).reshape(len(images), -1) @ weights)


NETWORKS = {
    "inception": {},
    "dinov2": {"image_size": 28, "width": 8, "layers": 1, "heads": 2, "hidden": 8},
    "clip_vit": {
        "image_size": 28, "width": 8, "layers": 1, "heads": 2, "vocab_size": 600, "text_width": 8, "text_layers": 1,
        "text_heads": 2, "embedding": 6,
    },
}  # fmt: skip


def workdir(path: Path, name: str) -> Path:
    """Of a network with random weights; an Inception is the one above, if `FEATURE_NETWORKS` has it."""
    values = {f"model.network.{key}": value for key, value in NETWORKS[name].items()}
    config = small.config("features", values, {"model.network.name": name, "data.name": "unpublished"})
    tokenizer = None
    if config.model.captions:
        words = path.with_suffix(".txt")
        words.write_text("\n".join(["#version: 0.2", *CLIP, ""]))
        tokenizer = tokenizers.clip(words)
    spec = DataSpec("unpublished", (8, 8, 3), 256, 0, 0)
    keep(small.untrained(config, spec, tokenizer, 0.3).trained, path)
    return path
