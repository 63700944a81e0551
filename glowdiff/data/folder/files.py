"""Which files a user's folder holds, how their names compare, and by what a changed folder is known."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import posixpath
import unicodedata
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from glowdiff.errors import ConfigError
from glowdiff.files import TEXT_LIMIT, check_ordinary
from glowdiff.pictures.reader import FORMATS

METADATA = ("metadata.csv", "metadata.jsonl")
TEXT = ".txt"
_FORMAT = 3  # of the prepared set; raised when files would be read differently
_LEFT_OUT = {"__MACOSX", "@eaDir", "lost+found"}  # folders that systems make, beside hidden ones


class File(NamedTuple):
    """A file of the folder."""

    name: str  # relative, with slashes
    size: int  # bytes
    modified: int  # nanoseconds


class Listing(NamedTuple):
    """What a folder holds."""

    files: list[File]  # sorted by name
    folders: list[str]  # sub-folders, relative, also those without any file
    notes: list[str]  # what the user should know


def list_files(folder: Path) -> Listing:
    """The files under `folder`, sub-folders included; hidden ones are left out.

    Links to folders are followed, but every folder is read once: first where it is, then by the first link to it.

    Raises:
      ConfigError: a sub-folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise ConfigError(f"data.path is {folder}, of which {error.filename} cannot be read ({error.strerror}).")

    files: list[File] = []
    folders: list[str] = []
    repeated: list[str] = []
    visited: set[str] = set()
    ahead = deque([folder])
    while ahead:
        for directory, subfolders, names in os.walk(ahead.popleft(), onerror=refuse):
            place, real = Path(directory), os.path.realpath(directory)
            if real in visited:
                repeated.append(place.relative_to(folder).as_posix())
                subfolders.clear()
                continue
            visited.add(real)
            folders.append(place.relative_to(folder).as_posix())
            subfolders[:] = sorted(name for name in subfolders if not name.startswith(".") and name not in _LEFT_OUT)
            ahead.extend(place / name for name in subfolders if (place / name).is_symlink())
            files.extend(_file(folder, place / name) for name in names if not name.startswith("."))
    notes = [f"{name} is left out, a link to a folder that is read already" for name in sorted(repeated)[:1]]
    if len(repeated) > 1:
        notes[0] += f"; so are {len(repeated) - 1:,} more"
    return Listing(sorted(files), sorted(folders[1:]), notes)


def _file(folder: Path, path: Path) -> File:
    try:
        status = path.stat()
    except OSError:  # a link that leads nowhere, of which whoever reads it says so
        return File(path.relative_to(folder).as_posix(), 0, 0)
    return File(path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns)


def composed(name: str) -> str:
    """`name` in the form in which names are compared: some systems write é as one character, others as two."""
    return unicodedata.normalize("NFC", name)


def is_text(text: str) -> bool:
    """Whether UTF-8 can hold `text`; names of files in other encodings and half characters of JSON it cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_picture(name: str) -> bool:
    """Whether a file is called like a picture that is read."""
    return posixpath.splitext(name)[1].lower() in _endings()


@functools.cache
def _endings() -> frozenset[str]:
    kinds = (*FORMATS, "MPO")  # which is read as a JPEG
    return frozenset(ending for ending, kind in Image.registered_extensions().items() if kind in kinds)


def fingerprint(folder: Path, files: Iterable[File], *facts: object) -> str:
    """16 hexadecimal digits that change whenever the prepared set would, which depends on `facts` too.

    Captions that somebody edits have the same size and time now and then, so their content counts.
    """
    files = list(files)
    texts = {file.name: _digest(folder / file.name) for file in files if _holds_words(file.name)}
    content = {"format": _FORMAT, "files": files, "texts": texts, "facts": facts}
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _holds_words(name: str) -> bool:
    return name.lower().endswith(TEXT) or posixpath.basename(name) in METADATA


def _digest(path: Path) -> str:
    """Of a file's content; empty where it cannot be read."""
    try:
        check_ordinary(path, TEXT_LIMIT)
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
