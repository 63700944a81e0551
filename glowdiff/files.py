"""Files that are written whole, and read only if they are ordinary ones of a sensible size."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

from etils import epath

from glowdiff.errors import ConfigError

TEXT_LIMIT = 64 * 2**20  # bytes of a text that people write: captions, metadata, prompts
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


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
    try:
        return json.loads(path.read_bytes().decode() if is_address(path) else read_text(Path(path)))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}.") from error
    except RecursionError as error:
        raise ConfigError(f"{path} is damaged: it is nested too deeply.") from error
    except ValueError as error:  # of the decoder, of JSON, of numbers of thousands of digits
        raise ConfigError(f"{path} is damaged: {error}.") from error


def check_ordinary(path: Path, most: int) -> None:
    """Raise `OSError` unless there is an ordinary file (or a link to one) of at most `most` bytes at `path`.

    Named pipes and devices would be waited for, or never end. The error's `strerror` says in words what is wrong.
    """
    status = path.stat()
    mode = stat.S_IFMT(status.st_mode)
    if mode != stat.S_IFREG:
        raise OSError(errno.EINVAL, f"it is {_KINDS.get(mode, 'something else')}, not a file", str(path))
    if status.st_size > most:
        raise OSError(errno.EFBIG, f"it has {status.st_size:,} bytes, more than the {most:,} that are read", str(path))


def read_text(path: Path, most: int = TEXT_LIMIT) -> str:
    """The UTF-8 text in the file at `path`, without a byte order mark.

    Raises:
      OSError: as of `check_ordinary`, or the file cannot be read.
      UnicodeDecodeError: it holds something else.
    """
    check_ordinary(path, most)
    with path.open("rb") as file:
        return file.read(most).decode("utf-8-sig")
