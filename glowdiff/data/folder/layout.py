"""What the places of a folder's files say about class and split; what may mean two things is asked about."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from glowdiff.data.folder.files import File, Listing, composed, is_picture
from glowdiff.errors import ConfigError

_TRAIN, _VAL, _TEST = "train", "val", "test"
_SPLITS = {
    **dict.fromkeys(("train", "training"), _TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev"), _VAL),
    **dict.fromkeys(("test", "testing"), _TEST),
}  # in any capitals
_NAMED = 4  # folders in a message


class Place(NamedTuple):
    """What a folder says of one of its images: by its place, and in words."""

    split: str | None  # None: not given by the folder
    group: str | None  # the sub-folder that is its class; None: directly in the folder (or split)
    caption: str | None = None  # None: the folder has none


class Layout(NamedTuple):
    """Where in a folder its classes are."""

    root: str  # the sub-folder that holds everything, with a slash at its end; empty: the folder itself
    splits: dict[str, str]  # "train" or "test" by the sub-folder of `root`; empty: the folder does not say
    left_out: str  # a sub-folder of `root` that belongs to no split; empty: none
    notes: list[str]  # what the user should know

    def place(self, file: File) -> Place | None:
        """Split and class of a file; None when it lies outside of what holds the data."""
        if not file.name.startswith(self.root):
            return None
        parts = file.name.removeprefix(self.root).split("/")[:-1]
        split = None
        if self.splits:
            if not parts or parts[0] not in self.splits:
                return None
            split = self.splits[parts.pop(0)]
        return Place(split, composed(parts[0]) if parts else None)

    def leaves_out(self, file: File) -> bool:
        """Whether a file is in the sub-folder that belongs to no split."""
        return bool(self.left_out) and file.name.startswith(f"{self.root}{self.left_out}/")

    def outside(self) -> str:
        """Why a file that has no place is not used."""
        root = self.root.rstrip("/")
        folders = f"folders {' and '.join(self.splits)}" if self.splits else f"folder {root}"
        return f"it lies outside the {folders}" + (f" in {root}" if self.splits and root else "")


def find_layout(folder: Path, listing: Listing) -> Layout:
    """The layout of `folder`.

    A folder that holds all pictures is looked through, whether it is called `photos` or `train`. Then folders named
    like splits are the splits; else the folders are the classes.

    Raises:
      ConfigError: folders named like splits stand beside others, two are named like the same one, or none is to be
        trained on.
    """
    pictures = [file.name for file in listing.files if is_picture(file.name)] or [file.name for file in listing.files]
    root, notes = "", list(listing.notes)
    while True:
        inside = [name.removeprefix(root) for name in pictures if name.startswith(root)]
        loose = any("/" not in name for name in inside)
        full = sorted({name.partition("/")[0] for name in inside if "/" in name})
        empty = [name for name in _children(listing.folders, root) if _split_of(name) and name not in full]
        splits = [name for name in full if _split_of(name)]
        if loose or len(full) != 1:
            break
        if splits and _TRAIN in map(_split_of, empty):
            raise _nothing_to_train_on(folder, splits)
        notes += _looked_through(root, full[0], empty)
        root += f"{full[0]}/"
    if not splits:
        notes += [f"{root}{name} holds no picture" for name in empty]
        return Layout(root, {}, "", notes)
    others = [name for name in full if name not in splits] or (["pictures"] if loose and len(splits) < 2 else [])
    if others:
        raise ConfigError(
            f"data.path is {folder}, where {_listed(splits)} {'stands' if len(splits) == 1 else 'stand'} beside "
            f"{_listed(others)}: splits or classes? If splits, move {_listed(others)} elsewhere; if classes, rename "
            f"{_listed(splits)}, {splits[0]} to {splits[0]}_ for example."
        )
    if _TRAIN not in map(_split_of, splits):
        raise _nothing_to_train_on(folder, splits)
    return _split(folder, root, splits, empty, notes)


def _split(folder: Path, root: str, names: list[str], empty: list[str], notes: list[str]) -> Layout:
    """The layout of a folder whose sub-folders `names`, two at least, are splits, one of them to train on."""
    by_split: dict[str, str] = {}
    for name in names:
        other = by_split.setdefault(_split_of(name), name)
        if other != name:
            raise ConfigError(
                f"data.path is {folder}, where {other} and {name} are both named like the same split; make one of them."
            )
    notes = [*notes, *(f"{root}{name} holds no picture" for name in empty)]
    train, val, test = (by_split.get(split, "") for split in (_TRAIN, _VAL, _TEST))
    left_out = val if test else ""
    if left_out:
        notes.append(f"{root}{val} is left out: the splits are {train} and {test}")
    elif val:
        notes.append(f"{root}{val} is the test split")
    return Layout(root, {train: "train", test or val: "test"}, left_out, notes)


def _nothing_to_train_on(folder: Path, splits: list[str]) -> ConfigError:
    return ConfigError(
        f"data.path is {folder}, where pictures are in {_listed(splits)}, but none in a folder train; call the one to "
        "train on train, or set data.path to it."
    )


def _looked_through(root: str, name: str, empty: list[str]) -> list[str]:
    """What to say where all pictures are in one sub-folder."""
    note = f"all pictures are in {root}{name}, so what is in it is the data"
    if _split_of(name):
        note += ", of which some are held out for testing"
    return [note, *(f"{root}{other} holds no picture" for other in empty)]


def _children(folders: Sequence[str], root: str) -> list[str]:
    """The names of the sub-folders directly in `root`."""
    inside = [name.removeprefix(root) for name in folders if name.startswith(root)]
    return [name for name in inside if "/" not in name]


def _split_of(name: str) -> str:
    """The split that a folder is named like; empty: none."""
    return _SPLITS.get(name.casefold(), "")


def _listed(names: list[str]) -> str:
    return ", ".join([*names[:_NAMED], *(["..."] if len(names) > _NAMED else [])])
