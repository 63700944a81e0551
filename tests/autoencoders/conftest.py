"""The autoencoder of `tests/conftest.py`, loaded, and images for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import glowdiff
from glowdiff.data.dataset import load as load_data


@pytest.fixture(scope="session")
def model(autoencoder_workdir: Path) -> glowdiff.Model:
    return glowdiff.load(autoencoder_workdir)


@pytest.fixture(scope="session")
def digits(model: glowdiff.Model) -> np.ndarray:
    test = load_data(model.config.data).test
    return np.stack([test[row]["image"] for row in range(16)])
