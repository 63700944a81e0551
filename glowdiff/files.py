"""Files that are written whole, and the arrays in an .npz file of the user's."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from etils import epath

from glowdiff.errors import ConfigError, require


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
    temporary.write_bytes(data)
    temporary.replace(target)


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
