"""One run at a time in a workdir, and the same folder from its first step to its last."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import shutil
import socket
import time
from pathlib import Path
from typing import Any, BinaryIO, Self

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from glowdiff.errors import ConfigError, require
from glowdiff.files import is_address
from glowdiff.workdir import last_step
from glowdiff.workdir.faults import CheckpointError

try:
    import fcntl
except ImportError:  # Windows: what the file says must do
    fcntl = None

FILE = ".lock"  # in a workdir, while a run is at work there


class Lock:
    """Taken while a run writes into a workdir; the system lets go of it even when the process is killed.

    It is a file that names its holder. Address stores such as `gs://` have no locks, and there it does nothing.
    """

    def __init__(self, workdir: epath.PathLike) -> None:
        """Of a workdir, which need not be there yet."""
        self._workdir = workdir
        self._path = None if is_address(workdir) else Path(workdir).absolute() / FILE
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def take(self) -> None:
        """Take it, in process 0 for all.

        Raises:
          ConfigError: another run holds it, in all processes alike.
        """
        problem = self._take() if self._path is not None and jax.process_index() == 0 else ""
        if jax.process_count() > 1 and multihost_utils.broadcast_one_to_all(np.array(bool(problem))):
            problem = problem or f"--workdir is {self._workdir}, which process 0 could not take; see its message."
        if problem:
            raise ConfigError(problem)

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            if self._is_in_place():
                with contextlib.suppress(OSError):
                    self._required().unlink()
            else:
                self._sweep()
            self._file.close()
            self._file = None

    def check(self) -> None:
        """Raise `CheckpointError` if the workdir is no longer the folder in which this was taken."""
        if self._file is not None and not self._is_in_place():
            raise CheckpointError(
                f"{self._workdir} is no longer the folder in which this run began: it has been renamed or deleted, or "
                "its disk is gone. Nothing more is written. What was saved is in the folder wherever it is now; the "
                "same command with that --workdir goes on from there."
            )

    def check_free(self) -> None:
        """Raise `ConfigError` if another run holds it; takes nothing and writes nothing."""
        if self._path is not None and self._path.exists():
            with contextlib.suppress(OSError), self._path.open("rb") as file:
                require(_try(file, self._path), self._refusal())

    def _sweep(self) -> None:
        """Remove what a save in flight made under the old name, when the workdir had another one already."""
        workdir = self._required().parent
        for _ in range(20):  # its threads may still be writing
            if not workdir.exists() or (workdir / "config.json").exists():
                return
            for step in workdir.glob("checkpoints/[0-9]*"):
                shutil.rmtree(step, ignore_errors=True)
            (workdir / last_step.FILE).unlink(missing_ok=True)
            for folder in (workdir / "checkpoints", workdir):
                with contextlib.suppress(OSError):  # not there, or not empty
                    folder.rmdir()
            time.sleep(0.1)

    def _take(self) -> str:
        """Why it could not be taken."""
        path = self._required()
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            file = path.open("a+b")
            if not _try(file, path):
                file.close()
                return self._refusal()
            self._file = file
            if self._is_in_place():  # or its holder removed it between our opening and our locking it
                break
            file.close()
        file.truncate(0)
        file.write(json.dumps(_me()).encode())
        file.flush()
        return ""

    def _refusal(self) -> str:
        return (
            f"--workdir is {self._workdir}, in which another run is at work: {_describe(self._required())}. Wait for "
            "it or stop it, or use another --workdir."
        )

    def _is_in_place(self) -> bool:
        try:
            return self._file is not None and os.path.samestat(os.fstat(self._file.fileno()), self._required().stat())
        except OSError:
            return False

    def _required(self) -> Path:
        assert self._path is not None
        return self._path


def _try(file: BinaryIO, path: Path) -> bool:
    """Lock it, unless another process has; a disk without locks tells by what the file says."""
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False
        except OSError:
            pass
    holder = _read(path)
    if holder.get("host") != socket.gethostname() or holder.get("pid") == os.getpid():
        return True
    return not _is_alive(holder.get("pid"))


def _is_alive(pid: Any) -> bool:
    try:
        os.kill(int(pid), 0)
    except (TypeError, ValueError, OverflowError, ProcessLookupError):
        return False
    except OSError:  # somebody else's
        return True
    return True


def _me() -> dict[str, Any]:
    now = datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": now}


def _read(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        content = json.loads(path.read_bytes()[:1000])
        if isinstance(content, dict):
            return content
    return {}


def _describe(path: Path) -> str:
    holder = _read(path)
    return "process {pid} on {host}, since {since}".format(**{"pid": "?", "host": "?", "since": "?"} | holder)
