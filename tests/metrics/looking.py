"""A network that compiles at once, and pictures for it; processes of tests import nothing more."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from glowdiff.config.sections import MeshConfig
from glowdiff.method import Features
from glowdiff.metrics.features import array_batches, observer
from glowdiff.sharding import make_mesh

MESH = make_mesh(MeshConfig())
IMAGES = np.random.default_rng(0).integers(0, 256, (22, 6, 5, 3), dtype=np.uint8)
WEIGHTS = {"params": np.random.default_rng(1).normal(size=(90, 4)).astype(np.float32)}


def looked(variables, prepared):
    flat = prepared.reshape(len(prepared), -1)
    return {"flat": flat @ variables["params"] + 100, "map": prepared[:, :2, :2]}


def spoken(variables, tokens, mask):
    return {"text": (variables["params"][tokens] * mask[..., None]).sum(1)}


NETWORK = Features({"scaled": lambda x: x / 255.0, "raw": lambda x: x.astype(jnp.float32)}, looked, spoken)


def seen(images=IMAGES, batch=8, names=("flat", "map"), network=NETWORK, **more):
    return observer(network, MESH, names, **more)(WEIGHTS, array_batches(batch, MESH, image=images))


def expected(images=IMAGES):
    return looked(WEIGHTS, images / np.float32(255))
