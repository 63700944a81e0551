"""Where prepared sets are kept, and how one comes to be there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from glowdiff.errors import ConfigError
from glowdiff.files import is_address

try:
    import fcntl
except ImportError:  # Windows: without the lock two processes may prepare the same set; one of the two is kept
    fcntl = None

VARIABLE = "GLOWDIFF_DATA"  # environment variable that replaces the default directory
_ABANDONED = 24 * 3600  # seconds after which an unfinished preparation was surely interrupted


def data_dir(directory: str | None = None) -> Path:
    """The local folder of prepared sets: `directory`, else $GLOWDIFF_DATA, else ~/.cache/glowdiff/data.

    Raises:
      ConfigError: for an address such as `gs://...`, where nothing can be put into place atomically.
    """
    folder = directory or os.environ.get(VARIABLE) or "~/.cache/glowdiff/data"
    if is_address(folder):
        raise ConfigError(
            f"data.dir is {folder!r}; prepared sets are kept in a local folder of each machine, "
            "such as ~/.cache/glowdiff/data."
        )
    return Path(folder).expanduser()


def prepare_once(target: Path, write: Callable[[Path], Path]) -> Path:
    """`target`, a directory that `write` fills unless it exists already.

    `target` appears by one rename, so a directory of that name is always a finished one, and processes or runs that
    need it at the same time wait for each other; where they cannot (another machine on a shared disk), the first wins.

    Args:
      target: the directory.
      write: called with an empty directory on the same disk; returns the directory to put into place, within it.

    Raises:
      ConfigError: the folder of prepared sets cannot be written to.
    """
    if target.is_dir():
        return target
    parent = target.parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with locked(parent / f".{target.name}.lock") as alone:
            if target.is_dir():  # another process prepared it while we waited
                return target
            _remove_abandoned(parent, target.name if alone else "")
            scratch = Path(tempfile.mkdtemp(prefix=f".preparing-{target.name}-", dir=parent))
            try:
                _put_into_place(write(scratch), target)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise ConfigError(
            f"the data set cannot be prepared in {parent}: {error.strerror or error}. "
            f"Set data.dir, or the environment variable {VARIABLE}, to a folder with space that you may write to."
        ) from error
    return target


def _put_into_place(finished: Path, target: Path) -> None:
    """Rename `finished` to `target`, unless somebody else has been faster."""
    for file in finished.rglob("*"):  # or a power cut could leave the name without the content
        if file.is_file():
            with file.open("r+b") as written:
                os.fsync(written.fileno())
    try:
        finished.rename(target)
    except OSError:
        if not target.is_dir():
            raise


def _remove_abandoned(parent: Path, ours: str) -> None:
    """Delete what preparations that were killed have left.

    Of the set `ours`, whose lock we hold, nobody else is at work; young ones of others may be, on another machine.
    """
    for scratch in parent.glob(".preparing-*"):
        with contextlib.suppress(OSError):
            is_ours = ours and scratch.name.startswith(f".preparing-{ours}-")
            if is_ours or time.time() - scratch.stat().st_mtime > _ABANDONED:
                shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold an exclusive lock on `path`, or yield False where the disk has none.

    The system releases it even when the process is killed.
    """
    with path.open("w") as file:
        alone = fcntl is not None
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError:  # the rename still decides
                alone = False
        yield alone
