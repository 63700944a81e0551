"""Saves that fail or are cut short."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import pytest

from glowdiff.workdir.checkpoint import CheckpointError, Checkpoints
from tests.workdir.states import (
    LIKE,
    contents,
    folder,
    names,
)


@contextmanager
def full_disk() -> Iterator[None]:
    """The system refuses to let any file grow beyond two megabytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**21, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_a_clear_error(workdir: Path):
    big = {"a": jax.random.normal(jax.random.key(0), (1000, 1000))}
    before = contents(folder(workdir, 2))
    with Checkpoints(workdir) as checkpoints:
        with full_disk():
            for _ in range(2):  # trying again does not take the failed step for a saved one
                checkpoints.save(3, big, {}, {"test_bits_per_dim": 0.0})
                with pytest.raises(CheckpointError, match=r"Step 3 could not be saved in .* \(is the disk full\?\)"):
                    checkpoints.wait()
                assert checkpoints.steps() == [1, 2]
                assert checkpoints.best_step() == 2
        assert checkpoints.restore_latest(LIKE).step == 2  # pyright: ignore
        checkpoints.save(3, big, {}, {})
        checkpoints.wait()
        assert checkpoints.steps() == [2, 3]
    assert contents(folder(workdir, 2)) == before


def test_the_next_save_reports_a_full_disk(workdir: Path):
    big = {"a": jax.random.normal(jax.random.key(0), (1000, 1000))}
    checkpoints = Checkpoints(workdir)
    with full_disk():
        checkpoints.save(3, big, {}, {})
        with pytest.raises(CheckpointError, match="Step 3 could not be saved"):
            checkpoints.save(4, big, {}, {})
        checkpoints.save(4, big, {}, {})
        with pytest.raises(CheckpointError, match="Step 4 could not be saved"):
            checkpoints.close()
    assert Checkpoints(workdir).steps() == [1, 2]


KILLED = """
import os, signal, sys
import jax
from glowdiff.workdir.checkpoint import Checkpoints

checkpoints = Checkpoints(sys.argv[1])
big = {"a": jax.random.bits(jax.random.key(0), (4000, 4000))}
checkpoints.save(3, big, {}, {})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_save_that_is_killed_leaves_the_step_before(workdir: Path):
    result = subprocess.run([sys.executable, "-c", KILLED, str(workdir)], capture_output=True, text=True)
    assert result.returncode == -signal.SIGKILL, result.stderr
    left = [name for name in names(workdir) if "tmp" in name]
    assert left == ["3.orbax-checkpoint-tmp"]
    with Checkpoints(workdir) as checkpoints:
        assert checkpoints.steps() == [1, 2]
        assert checkpoints.restore_latest(LIKE).step == 2  # pyright: ignore
        checkpoints.save(3, {"a": jax.numpy.zeros(2)}, {}, {})
        checkpoints.wait()
        assert checkpoints.steps()[-1] == 3
    assert not any("tmp" in name for name in names(workdir))
