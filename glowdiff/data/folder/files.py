"""Which files a user's folder holds, and what their places say about class and split."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

SPLITS = ("train", "test")  # sub-folders that, when both are there, are the splits
_FORMAT = 2  # of the prepared set; raised when files would be read differently


class File(NamedTuple):
    """A file of the folder."""

    name: str  # relative, with slashes
    size: int  # bytes
    modified: int  # nanoseconds


class Place(NamedTuple):
    """What a folder says of one of its images: by its place, and in words."""

    split: str | None  # None: not given by the folder
    group: str | None  # the sub-folder that is its class; None: directly in the folder (or split)
    caption: str | None = None  # None: the folder has none


def list_files(folder: Path) -> list[File]:
    """The files under `folder`, sub-folders included, sorted by name; hidden ones are left out."""
    files: list[File] = []
    visited: set[str] = set()
    for directory, subfolders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(directory)
        if real in visited:  # a link back to a folder above
            subfolders.clear()
            continue
        visited.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in names:
            path = Path(directory, name)
            if not name.startswith(".") and path.exists():
                status = path.stat()
                files.append(File(path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns))
    return sorted(files)


def has_splits(files: Iterable[File]) -> bool:
    """Whether the folder holds files in both `train/` and `test/`."""
    return set(SPLITS) <= {file.name.partition("/")[0] for file in files if "/" in file.name}


def place(file: File, *, splits: bool) -> Place | None:
    """Split and class of `file`; None when it lies outside the splits of a folder that has them."""
    parts = file.name.split("/")[:-1]
    split = None
    if splits:
        if not parts or parts[0] not in SPLITS:
            return None
        split = parts.pop(0)
    return Place(split, parts[0] if parts else None)


def fingerprint(files: Iterable[File], size: int | None, test_fraction: float) -> str:
    """16 hexadecimal digits that change whenever the prepared set would."""
    facts = {"format": _FORMAT, "files": [list(file) for file in files], "size": size, "test_fraction": test_fraction}
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
