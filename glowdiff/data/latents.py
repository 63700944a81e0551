"""Latents that `glowdiff prepare latents` has kept: what training reads in place of images.

A folder holds `latents.json`, `plain.npy` and, if images were mirrored too, `mirrored.npy` [N, h, w, C], in the order
of the training split; with them what the set knows beside images, `labels.npy` and `captions.json`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from glowdiff.config.sections import DataConfig
from glowdiff.errors import ConfigError, require
from glowdiff.files import read_json, write_whole

FILE, PLAIN, MIRRORED = "latents.json", "plain.npy", "mirrored.npy"
LABELS, CAPTIONS = "labels.npy", "captions.json"
_FORMAT = 1
_ELSEWHERE = (
    "dir",
    "path",
    "flip",
    "shift",
    "latents",
)  # keys of `data` on which the images do not depend, or that move


class Header(NamedTuple):
    """What `latents.json` says."""

    data: Mapping[str, Any]  # the `data` section, but for what may differ
    number: int  # images of the training split
    shape: tuple[int, int, int]  # of what is kept of one
    dtype: str  # float16 | float32
    mirrored: bool  # whether mirrored images are there too
    codec: str  # another one for other weights
    done: int = 0  # images that are encoded, mirrored ones included

    @property
    def total(self) -> int:
        """Images to encode, mirrored ones included."""
        return self.number * (1 + self.mirrored)


def facts(config: DataConfig) -> dict[str, Any]:
    """The `data` section, but for what may differ."""
    return {key: value for key, value in dataclasses.asdict(config).items() if key not in _ELSEWHERE}


def read_header(folder: str | Path, key: str = "data.latents") -> Header:
    """The header of a folder.

    Args:
      folder: of prepared latents.
      key: that names it, for messages.

    Raises:
      ConfigError: it holds none, or is damaged.
    """
    path = Path(folder).expanduser() / FILE
    require(
        path.exists(), f"{key} is {folder}, which holds no {FILE}; it must be a folder of `glowdiff prepare latents`."
    )
    content = read_json(epath.Path(path))
    try:
        require(content.pop("format") == _FORMAT, f"{path} was written by another version of glowdiff; prepare anew.")
        height, width, channels = content.pop("shape")
        return Header(shape=(int(height), int(width), int(channels)), **content)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path} is damaged: it does not say what the folder holds.") from error


def write_header(folder: Path, header: Header) -> None:
    """Write the header, in one piece."""
    write_whole(epath.Path(folder / FILE), json.dumps({"format": _FORMAT, **header._asdict()}, indent=2) + "\n")


class Latents:
    """A training split whose examples hold latents; no image is read.

    Attributes:
      header: what the folder says.
      captions: of all examples; None: the set has none.
    """

    def __init__(self, folder: str | Path, config: DataConfig) -> None:
        """Of a folder, for training with a `data` section.

        Raises:
          ConfigError: it is of other data, is not whole, holds no mirrored images where `config.flip` asks for them, or
            is damaged.
        """
        self.header, self._flip = read_header(folder), config.flip
        path, header = Path(folder).expanduser(), self.header
        here = facts(config)
        different = sorted(key for key in here if here[key] != header.data.get(key, here[key]))
        require(
            not different,
            f"data.latents is {folder}, which was prepared of other images: "
            + ", ".join(f"data.{key} was {header.data[key]!r}, here {here[key]!r}" for key in different)
            + ".",
        )
        require(
            header.done == header.total,
            f"data.latents is {folder}, where {header.done:,} of {header.total:,} images are encoded; the same "
            "`glowdiff prepare latents` again goes on.",
        )
        require(
            header.mirrored or not config.flip,
            f"data.flip is on, but data.latents is {folder}, which holds no mirrored images; prepare them with --flip.",
        )
        require(config.shift == 0, f"data.shift is {config.shift}, but data.latents holds images that are not shifted.")
        names = (PLAIN, MIRRORED) if config.flip else (PLAIN,)
        self._copies = [_mapped(path / name, header) for name in names]
        self._labels = np.load(path / LABELS) if (path / LABELS).exists() else None
        self.captions: Sequence[str] | None = (
            read_json(epath.Path(path / CAPTIONS)) if (path / CAPTIONS).exists() else None
        )

    def __len__(self) -> int:
        return self.header.number

    def __getitem__(self, index: int) -> Any:
        """An example with `latents` [h, w, C], or where images are mirrored at random both, [2, h, w, C]."""
        kept = [np.asarray(copy[index]) for copy in self._copies]
        example: dict[str, Any] = {
            "latents": np.stack(kept) if self._flip else kept[0],
            "cond": {} if self._labels is None else {"label": self._labels[index]},
        }
        if self.captions is not None:
            example["caption"] = self.captions[index]
        return example

    def __repr__(self) -> str:
        return f"Latents({len(self)} of {self.header.shape})"


class Store:
    """A folder into which latents are written, piece by piece; a killed process loses the last piece at most."""

    def __init__(self, folder: Path, header: Header, *, labels: bool, captions: Sequence[str] | None) -> None:
        """Of a folder that is empty, or holds some of the same latents.

        Args:
          folder: where they go.
          header: what it says, and how many are there already.
          labels: whether there are any,
          captions: and the captions.
        """
        self._folder, self._header = folder, header
        folder.mkdir(parents=True, exist_ok=True)
        if captions is not None:
            write_whole(epath.Path(folder / CAPTIONS), json.dumps(list(captions)))
        names = (PLAIN, MIRRORED) if header.mirrored else (PLAIN,)
        self._copies = [self._open(name, header.dtype, header.shape) for name in names]
        self._labels = self._open(LABELS, "int32", ()) if labels else None
        write_header(folder, header)

    def write(self, copy: int, start: int, latents: np.ndarray, labels: np.ndarray | None) -> None:
        """Write those of the images from a number on, plain (copy 0) or mirrored (1)."""
        end = start + len(latents)
        self._copies[copy][start:end] = latents
        self._copies[copy].flush()
        if self._labels is not None and labels is not None and copy == 0:
            self._labels[start:end] = labels
            self._labels.flush()
        self._header = self._header._replace(done=copy * self._header.number + end)
        write_header(self._folder, self._header)

    def _open(self, name: str, dtype: str, shape: tuple[int, ...]) -> np.memmap:
        mode = "r+" if self._header.done else "w+"
        whole = (self._header.number, *shape)
        return np.lib.format.open_memmap(self._folder / name, mode=mode, dtype=np.dtype(dtype), shape=whole)


def _mapped(path: Path, header: Header) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"data.latents holds {path.name}, which cannot be read ({error}); prepare it anew."
        ) from error
    expected = (header.number, *header.shape)
    require(
        array.shape == expected and array.dtype == header.dtype,
        f"data.latents holds {path}, an array {array.dtype} {list(array.shape)}; it must be {header.dtype} "
        f"{list(expected)}. Prepare it anew.",
    )
    return array
