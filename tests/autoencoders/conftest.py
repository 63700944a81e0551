"""An autoencoder that was trained for a few steps, with its discriminator; tests only read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import glowdiff
from glowdiff.data.dataset import load as load_data
from glowdiff.training.loop import train
from tests import small


@pytest.fixture(scope="session")
def workdir() -> Path:
    return small.once("autoencoder", lambda folder: train(small.autoencoder_config(), folder / "run")) / "run"


@pytest.fixture(scope="session")
def model(workdir: Path) -> glowdiff.Model:
    return glowdiff.load(workdir)


@pytest.fixture(scope="session")
def digits(model: glowdiff.Model) -> np.ndarray:
    test = load_data(model.config.data).test
    return np.stack([test[row]["image"] for row in range(16)])
