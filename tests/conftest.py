"""What every test shares: how XLA is set up (before JAX is imported), where data go, and one trained run."""

from __future__ import annotations

import atexit
import dataclasses
import os
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

# The subprocesses of tests inherit all of this. Tests compile many small programs and run each for a few steps, so
# compile time is what they cost: without LLVM's optimisations it is a third, and the cache compiles each program once,
# whichever process asks first. Neither changes what a program computes beyond rounding.
_SCRATCH = Path(tempfile.mkdtemp(prefix="glowdiff-tests-"))
atexit.register(shutil.rmtree, _SCRATCH, ignore_errors=True)
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0".strip()
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(_SCRATCH / "xla")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
# Shapes that meet by accident are mistakes.
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
os.environ["GLOWDIFF_DATA"] = str(_SCRATCH / "data")

import pytest  # noqa: E402

from glowdiff.catalog import methods  # noqa: E402
from glowdiff.config.sections import Config  # noqa: E402
from tests import small  # noqa: E402


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> small.ToyData:
    """The method "toy", which compiles in no time, and pictures for it."""
    monkeypatch.setitem(methods.METHODS, "toy", methods.Entry(small.ToyConfig, small.toy_method))
    return small.ToyData(tmp_path / "toy.npz")


class Trained:
    """A run of `train.py` on `configs/glow/digits.py:smoke`, with what it printed."""

    def __init__(self, workdir: Path) -> None:
        self.workdir = workdir
        result = small.command("train.py", "--config=configs/glow/digits.py:smoke", f"--workdir={workdir}")
        assert result.returncode == 0, result.stderr
        self.output = result.stdout

    @property
    def config(self) -> Config:
        from glowdiff import workdir as workdirs

        return workdirs.read(self.workdir).config


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Tests only read it."""
    return Trained(tmp_path_factory.mktemp("trained") / "run")


class Cascaded(NamedTuple):
    """Workdirs of models whose parameters are noise; tests only read them."""

    base: Path  # reads captions, 8x8
    upsampler: Path  # reads them too, 8x8 -> 16x16
    clip: Path  # guides the base


@pytest.fixture(scope="session")
def cascaded(tmp_path_factory: pytest.TempPathFactory) -> Cascaded:
    folder = tmp_path_factory.mktemp("cascade")
    upsampler = small.text_config(model__low_res=8, model__caption_dropout=0.0, sampling__guidance_scale=None)
    return Cascaded(
        small.untrained_workdir(folder / "base", small.text_config(), small.COLOURS),
        small.untrained_workdir(folder / "upsampler", upsampler, dataclasses.replace(small.COLOURS, shape=(16, 16, 3))),
        small.untrained_workdir(folder / "clip", small.clip_config(), small.COLOURS),
    )
