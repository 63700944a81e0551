"""Files that are written whole, and the arrays in an .npz file of the user's."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath

from glowdiff.errors import ConfigError, require

_JSON_BYTES = 2**26


def is_address(path: epath.PathLike) -> bool:
    """Whether a path is one of an object store, where files are put whole and cannot be appended to.

    >>> is_address("gs://bucket/run"), is_address("/tmp/run")
    (True, False)
    """
    return "://" in os.fspath(path)


def write_whole(path: epath.PathLike, content: bytes | str) -> None:
    """A file in one piece: a reader sees the old one or the new one, also when the writer is killed.

    Args:
      path: of the file, local or an address such as `gs://...`; folders above it are made.
      content: text is written as UTF-8.
    """
    target = epath.Path(path)
    data = content.encode() if isinstance(content, str) else content
    target.parent.mkdir(parents=True, exist_ok=True)
    if is_address(target):
        target.write_bytes(data)
        return
    # Always of the same name, so that killed writers leave one file and not many.
    temporary = target.parent / f"{target.name}.tmp"
    try:
        temporary.write_bytes(data)
    except OSError as error:  # a full disk, whose error names no file
        temporary.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(target)) from error
    temporary.replace(target)


def read_json(path: epath.Path) -> Any:
    """What a JSON file of ours holds, whoever has been at it since.

    Raises:
      ConfigError: it is no ordinary file, not UTF-8, not JSON, nested too deeply, or far too large.
    """
    require(path.is_file(), f"{path} is no ordinary file.")
    require(path.stat().length <= _JSON_BYTES, f"{path} is larger than {_JSON_BYTES >> 20} MiB, which is too large.")
    try:
        return json.loads(path.read_bytes().decode())
    except RecursionError as error:
        raise ConfigError(f"{path} is damaged: it is nested too deeply.") from error
    except ValueError as error:  # of the decoder, of JSON, of numbers of thousands of digits
        raise ConfigError(f"{path} is damaged: {error}.") from error


def read_npz(path: Path, key: str, content: str, example: str) -> dict[str, np.ndarray]:
    """The arrays in the file at `path`, by name.

    Args:
      path: of the file.
      key: the configuration's key or the flag that names the file, for messages; so are the next two.
      content: what the file must be, such as "an .npz file of the variables".
      example: how to save one, such as "np.savez(path, images)".

    Raises:
      ConfigError: the file is missing, damaged or no .npz. Pickled objects in it are refused unread.
    """
    require(path.is_file(), f"{key} is {path}, where there is no file; it must be {content}.")
    with path.open("rb") as file:
        start = file.read(6)
    require(  # of anything else, NumPy says that it is a pickle
        start.startswith((b"PK", b"\x93NUMPY")),
        f"{key} is {path}, which is not an .npz file; save one with {example}.",
    )
    try:
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise ConfigError(f"{key} is {path}, a single array; save an .npz file with {example}.")
        with archive:
            return {name: archive[name] for name in archive.files}
    except ConfigError:
        raise
    except Exception as error:
        if "pickle" in str(error) or "Object arrays" in str(error):
            raise ConfigError(
                f"{key} is {path}, which holds pickled Python objects. They can run any code when they are read, so "
                f"they are refused; save plain arrays with {example}."
            ) from error
        raise ConfigError(f"{key} is {path}, a damaged .npz file ({type(error).__name__}: {error}).") from error
