"""Models that serve another one as they are: copied into its workdir, and touched by nothing."""

from __future__ import annotations

import shutil

import jax
import numpy as np
import pytest

import glowdiff
from glowdiff.errors import ConfigError
from glowdiff.trained import restore
from glowdiff.training.loop import train
from glowdiff.workdir.checkpoint import CheckpointError
from tests import small, toys


@pytest.fixture
def teacher(toy, tmp_path):
    """A toy that has learnt something."""
    train(toys.toy_config(toy, optimizer__learning_rate=0.1), tmp_path / "teacher")
    return tmp_path / "teacher"


@pytest.fixture
def pupil(toy, teacher, tmp_path):
    """A toy that learns what the teacher draws, and its configuration."""
    config = toys.toy_config(toy, model__teacher=str(teacher), optimizer__learning_rate=0.1)
    train(config, tmp_path / "pupil")
    return config, tmp_path / "pupil"


def mean(variables) -> np.ndarray:
    return np.asarray(variables["params"]["mean"])


def test_it_is_there_but_not_trained_averaged_or_saved(pupil, teacher):
    config, workdir = pupil
    model, original = restore(workdir), restore(teacher)
    names = small.state_of(config, workdir)
    np.testing.assert_array_equal(mean(model.variables["frozen"]["teacher"]), mean(original.variables))
    assert (mean(model.variables) != mean(original.variables)).any()
    assert names
    assert not [name for name in names if "frozen" in name or "teacher" in name]


def test_a_workdir_stays_whole_when_it_is_moved(pupil, teacher, tmp_path):
    config, workdir = pupil
    before = restore(workdir)
    shutil.rmtree(teacher)
    moved = workdir.rename(tmp_path / "moved")
    after = glowdiff.load(moved)
    np.testing.assert_array_equal(
        mean(after.variables["frozen"]["teacher"]), mean(before.variables["frozen"]["teacher"])
    )
    assert after.sample(jax.random.key(0), 2).shape == (2, 8, 8, 1)
    longer = small.replaced(config, train__steps=6)
    train(longer, moved)
    assert small.steps(moved)[-1] == 6


def test_a_damaged_copy_is_noticed(pupil):
    _, workdir = pupil
    files = [path for path in (workdir / "parts/teacher/checkpoints").rglob("d/*") if path.is_file()]
    assert files
    for path in files:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match="parts/teacher/checkpoints"):
        restore(workdir)


def test_what_is_no_workdir_is_refused_before_anything_is_written(toy, tmp_path):
    config = toys.toy_config(toy, model__teacher=str(tmp_path / "nobody"))
    with pytest.raises(ConfigError, match="nobody is not a workdir of glowdiff"):
        train(config, tmp_path / "pupil")
    assert not (tmp_path / "pupil").exists()


def test_checking_alone_copies_nothing(toy, teacher, tmp_path):
    config = toys.toy_config(toy, model__teacher=str(teacher))
    train(config, tmp_path / "pupil", dry_run=True)
    assert not (tmp_path / "pupil").exists()
