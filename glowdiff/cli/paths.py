"""Files and folders that a user names: `~` expanded, and outputs tried before anything takes time."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from glowdiff.errors import ConfigError, require
from glowdiff.files import is_address


def expanded(key: str, text: str) -> str:
    """A path as typed, with the home folder for `~`; addresses such as `gs://...` stay.

    Args:
      key: the flag or key, for messages.
      text: the path.

    Raises:
      ConfigError: it is empty, or there is no such home.
    """
    require(bool(text.strip()), f"{key} is empty; it must be the name of a file or folder.")
    if not text.startswith("~") or is_address(text):
        return text
    path = os.path.expanduser(text) if os.environ.get("HOME", "~") else text  # noqa: PTH111  # Path() drops a last /
    home = text.partition("/")[0]
    require(not path.startswith("~"), f"{key} is {text}, but there is no home folder {home}; or write ./{text}.")
    return path


def check_ending(key: str, path: str, *endings: str) -> None:
    """Raise `ConfigError` unless the name of a file has one of the endings."""
    require(path.endswith(endings), f"{key} is {path}; it must end in {' or '.join(endings)}.")


def check_file(key: str, path: str) -> None:
    """Raise `ConfigError` unless a file could be written now; `key` is the flag that names it, for messages."""
    if is_address(path):
        return
    require(not Path(path).is_dir(), f"{key} is {path}, which is a folder; it must be the name of a file.")
    require(
        not Path(path).exists() or os.access(path, os.W_OK), f"{key} is {path}, a file that must not be written to."
    )
    _try(key, path, Path(path).absolute().parent)


def check_folder(key: str, path: str) -> None:
    """Raise `ConfigError` unless files could be written into a folder now, which is made where it is not there."""
    if not is_address(path):
        _try(key, path, Path(path).absolute())


def _try(key: str, path: str, folder: Path) -> None:
    """Write and remove a file in a folder, or in the nearest one above it that is there."""
    while not os.path.lexists(folder):
        folder = folder.parent
    require(folder.is_dir(), f"{key} is {path}, but {folder} is no folder.")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(f"{key} is {path}, but nothing can be written in {folder} ({error.strerror}).") from error
