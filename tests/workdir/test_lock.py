"""One run at a time in a workdir, and the same folder to its end."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from glowdiff.errors import ConfigError
from glowdiff.training.loop import train
from glowdiff.workdir import lock as locks
from glowdiff.workdir.faults import CheckpointError
from glowdiff.workdir.lock import FILE, Lock
from tests import toys

HOLDS = """
import signal, sys
from glowdiff.workdir.lock import Lock

lock = Lock(sys.argv[1])
lock.take()
print("taken", flush=True)
signal.pause()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `tmp_path`."""
    command = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "taken\n"
        yield process
        process.kill()


def test_the_second_run_is_told_who_holds_it_and_a_killed_one_holds_nothing(holder, toy, tmp_path):
    content = json.loads((tmp_path / FILE).read_text())
    message = f"process {holder.pid} on {socket.gethostname()}, since {content['since']}".replace("+", r"\+")
    for dry_run in (False, True):
        with pytest.raises(ConfigError, match=f"another run is at work: {message}"):
            train(toys.toy_config(toy), tmp_path, dry_run=dry_run)
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE, "toy.npz"]
    holder.kill()
    holder.wait()
    train(toys.toy_config(toy, train__steps=2), tmp_path)
    assert not (tmp_path / FILE).exists()


def test_a_disk_without_locks_goes_by_what_the_file_says(monkeypatch, tmp_path):
    def no_locks(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(locks.fcntl, "flock", no_locks)
    ours = {"host": socket.gethostname(), "since": "today"}
    for held, holder in (
        (True, ours | {"pid": os.getppid()}),
        (False, ours | {"pid": 2**22 + 1}),  # more than the system gives
        (False, ours | {"pid": "x"}),
        (False, {"host": "elsewhere", "pid": os.getppid()}),
        (False, []),
    ):
        (tmp_path / FILE).write_text(json.dumps(holder))
        with Lock(tmp_path) as lock:
            if held:
                with pytest.raises(ConfigError, match=f"process {os.getppid()} on .*, since today"):
                    lock.take()
            else:
                lock.take()


@pytest.mark.parametrize("what", ["renamed", "deleted", "another in its place"])
def test_a_workdir_that_is_gone_stops_the_run_and_nothing_is_made_anew(what, toy, tmp_path, monkeypatch):
    workdir, moved = tmp_path / "run", tmp_path / "moved"
    config = toys.toy_config(toy, train__steps=12, train__checkpoint_every=2)
    usual = Lock.check

    def check(lock: Lock) -> None:
        if (workdir / "checkpoints/4").exists():
            shutil.move(workdir, moved)
            if what == "deleted":
                shutil.rmtree(moved)
            if what == "another in its place":
                workdir.mkdir(exist_ok=True)  # a save in flight may have made it already
        usual(lock)

    monkeypatch.setattr(Lock, "check", check)
    with pytest.raises(CheckpointError, match="no longer the folder in which this run began: it has been renamed or"):
        train(config, workdir)
    assert not workdir.exists(), sorted(workdir.rglob("*"))
    monkeypatch.setattr(Lock, "check", usual)
    if what != "deleted":
        assert train(config, moved)
        assert [path.name for path in Path(moved).glob("checkpoints/12")] == ["12"]
