"""A diffusion model and a classifier that were trained for a few steps; tests only read them."""

from __future__ import annotations

from pathlib import Path

import pytest

import glowdiff
from glowdiff.training.loop import train
from tests import small


@pytest.fixture(scope="session")
def diffusion_workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("diffusion") / "run"
    train(small.diffusion_config(), workdir)
    return workdir


@pytest.fixture(scope="session")
def classifier_workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("classifier") / "run"
    train(small.classifier_config(), workdir)
    return workdir


@pytest.fixture(scope="session")
def diffusion(diffusion_workdir: Path) -> glowdiff.Model:
    return glowdiff.load(diffusion_workdir)


@pytest.fixture(scope="session")
def classifier(classifier_workdir: Path) -> glowdiff.Model:
    return glowdiff.load(classifier_workdir)
