"""A diffusion model and a classifier that were trained for a few steps; tests only read them."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import glowdiff
from glowdiff.training.loop import train
from tests import small


@pytest.fixture(scope="session")
def diffusion_workdir() -> Path:
    return small.once("diffusion", lambda folder: train(small.diffusion_config(), folder / "run")) / "run"


@pytest.fixture(scope="session")
def classifier_workdir() -> Path:
    return small.once("classifier", lambda folder: train(small.classifier_config(), folder / "run")) / "run"


@pytest.fixture(scope="session")
def diffusion(diffusion_workdir: Path) -> glowdiff.Model:
    return shaken(glowdiff.load(diffusion_workdir))


@pytest.fixture(scope="session")
def classifier(classifier_workdir: Path) -> glowdiff.Model:
    return shaken(glowdiff.load(classifier_workdir))


def shaken(model: glowdiff.Model) -> glowdiff.Model:
    """The model with noise on its parameters: after four steps labels would not make a difference yet."""
    rng = np.random.default_rng(0)

    def shake(leaf):
        return leaf + jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype) * 0.05

    model.variables = {**model.variables, "params": jax.tree.map(shake, model.variables["params"])}
    return model
