"""The arrays in an .npz file of the user's, read one by one: only those that are asked for, and within a bound."""

from __future__ import annotations

import contextlib
import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from glowdiff.errors import ConfigError, require
from glowdiff.files import check_ordinary

LIMIT = 256 * 2**20  # bytes that are read of any archive, however small its file
RATIO = 200  # and of larger ones so many times the file's size: pictures and weights are compressed by less
FILE_LIMIT = 2**40  # bytes of the file
_NPY = b"\x93NUMPY"
_VERSION = (1, 0)  # of all arrays of plain numbers; headers of later ones may have gigabytes


class Unreadable(ValueError):
    """An archive that is not read, or an array in it; the message goes between "it is NAME, " and " with THIS."."""


class Header(NamedTuple):
    """What an array is, known before it is read."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def size(self) -> int:
        """Bytes of its values."""
        return math.prod(self.shape) * self.dtype.itemsize


class Archive(Mapping[str, np.ndarray]):
    """The arrays in an .npz file by name; each is read when it is asked for, once it is known to be no bomb."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        """Find the members of `file`, an .npz archive of `size` bytes.

        Raises:
          Unreadable: it is none; `header` and reading an array raise it too.
        """
        start = file.read(len(_NPY))
        if start == _NPY:
            raise Unreadable("a single array; save an .npz file")
        if not start.startswith(b"PK"):  # of anything else, NumPy says that it is a pickle
            raise Unreadable("which is not an .npz file; save one")
        with _worded():
            self._zip = zipfile.ZipFile(file)
        self._members = {member.filename.removesuffix(".npy"): member for member in self._zip.infolist()}
        self._left = max(LIMIT, RATIO * size)

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def header(self, name: str) -> Header:
        """Shape and type of an array, of which no more than that is read."""
        member = self._members[name]
        with _worded(), self._zip.open(member) as file:
            try:
                if np.lib.format.read_magic(file) != _VERSION:
                    raise ValueError("another version")
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            except ValueError as error:
                raise Unreadable(f"whose {name} is no array of numbers; save plain arrays") from error
            header = Header(shape, dtype)
            rest = member.file_size - file.tell()
        if dtype.hasobject:
            raise Unreadable(
                "which holds pickled Python objects. They can run any code when they are read, so they are refused; "
                "save plain arrays"
            )
        if header.size != rest:
            raise Unreadable(f"whose {name} has {rest:,} bytes, but {header.size:,} by its header; save it again")
        return header

    def __getitem__(self, name: str) -> np.ndarray:
        size = self.header(name).size
        if size > self._left:
            raise Unreadable(
                f"whose {name} would have {size:,} bytes; of a compressed file at most {LIMIT:,} bytes are read, or "
                f"{RATIO} times its size. If it is no decompression bomb, save it uncompressed"
            )
        self._left -= size
        with _worded(), self._zip.open(self._members[name]) as file:
            return np.lib.format.read_array(file, allow_pickle=False)


@contextlib.contextmanager
def open_npz(path: Path, key: str, content: str, example: str) -> Iterator[Archive]:
    """The arrays in the file at `path`, to be read within the `with`.

    Args:
      path: of the file.
      key: the configuration's key or the flag that names the file, for messages; so are the next two.
      content: what the file must be, such as "an .npz file of the variables".
      example: how to save one, such as "np.savez(path, images)".

    Raises:
      ConfigError: the file is missing, damaged or no .npz; or an array that is asked for is none, or claims to be
        larger than is sensible. Pickled objects are refused unread.
    """
    require(path.exists(), f"{key} is {path}, where there is no file; it must be {content}.")
    try:
        check_ordinary(path, FILE_LIMIT)
        with path.open("rb") as file:
            yield Archive(file, path.stat().st_size)
    except Unreadable as error:
        raise ConfigError(f"{key} is {path}, {error} with {example}.") from error
    except OSError as error:
        raise ConfigError(f"{key} is {path}, which cannot be read ({error.strerror or error}).") from error


@contextlib.contextmanager
def _worded() -> Iterator[None]:
    """Whatever damaged archives raise, which is nearly anything, as `Unreadable`."""
    try:
        yield
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(f"a damaged .npz file ({type(error).__name__}: {error}); save it again") from error
