"""Arrays that stay in their files until they are asked for, one by one: checkpoints as large as memory."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from glowdiff.archives import FILE_LIMIT
from glowdiff.errors import ConfigError, require
from glowdiff.files import check_ordinary, read_text
from glowdiff.importers import torch_files, weights_files

_DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": jnp.bfloat16, "I64": np.int64, "I32": np.int32,
    "I16": np.int16, "I8": np.int8, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip
_HEADER = 100 * 2**20  # bytes of a header at most, as the format itself has it


class Place(NamedTuple):
    """Where an array is, and what it is."""

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


class Stored(Mapping[str, np.ndarray]):
    """Arrays by name, read when they are asked for: floating point ones in float32, and finite.

    Attributes:
      origin: what messages begin with, such as "--weights is FILE".
    """

    def __init__(self, places: Mapping[str, Place], origin: str) -> None:
        """Of the places of the arrays."""
        self._places, self.origin = dict(places), origin

    def __getitem__(self, name: str) -> np.ndarray:
        return weights_files.numbers(self.origin, name, self._places[name].read())

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes by name, for which nothing is read."""
        return {name: place.shape for name, place in self._places.items()}

    def under(self, prefix: str) -> Stored:
        """Those whose names begin with a prefix, without it."""
        found = {name.removeprefix(prefix): place for name, place in self._places.items() if name.startswith(prefix)}
        return Stored(found, self.origin)

    def renamed(self, names: Mapping[str, str]) -> Stored:
        """Some of them, by other names."""
        return Stored({new: self._places[old] for old, new in names.items()}, self.origin)

    def joined(self, other: Stored) -> Stored:
        """These, and those of another file."""
        return Stored({**self._places, **other._places}, self.origin)


def opened(path: Path, key: str = "--weights") -> Stored:
    """The arrays of a file, of which nothing but their names and shapes is read.

    Args:
      path: of a .safetensors file, of its index where it comes in shards (.json), of PyTorch's (.ckpt, .pt, .pth,
        .bin), whose `state_dict` is meant if it holds one, or of an .npz file.
      key: the flag that names the file, for messages.

    Raises:
      ConfigError: the file is missing, cut off or of another kind. Nothing in a file is ever run.
    """
    path = path.expanduser()
    require(path.suffix in _READERS, f"{key} is {path}; it must be a file that ends in {', '.join(_READERS)}.")
    require(path.is_file(), f"{key} is {path}, where there is no file.")
    try:
        check_ordinary(path, FILE_LIMIT)
        return _READERS[path.suffix](path, key)
    except OSError as error:
        raise ConfigError(f"{key} is {path}, which cannot be read ({error.strerror or error}).") from error


def _safetensors(path: Path, key: str) -> Stored:
    """A length, a header in JSON, and raw numbers."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        # The first bytes of what is no such file make a length beyond all others.
        named = size >= 8 and length <= _HEADER and file.read(1) == b"{"
        require(named, f"{key} is {path}, which is no safetensors file: it does not begin as they do.")
        require(8 + length <= size, f"{key} is {path}, which is cut off: not even its header is whole.")
        file.seek(8)
        text = file.read(length)
    try:
        header = json.loads(text)
        entries = {name: _entry(each) for name, each in header.items() if name != "__metadata__"}
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ConfigError(f"{key} is {path}, whose header is damaged ({type(error).__name__}: {error}).") from error
    whole = 8 + length + max((end for *_, end in entries.values()), default=0)
    require(
        whole <= size,
        f"{key} is {path}, which is cut off: it has {size:,} of {whole:,} bytes. Download it again.",
    )

    def reader(dtype: Any, shape: tuple[int, ...], start: int) -> Callable[[], np.ndarray]:
        def read() -> np.ndarray:
            # Not mapped into memory: pages that are read once would count as this process's.
            with path.open("rb") as file:
                file.seek(8 + length + start)
                return np.fromfile(file, dtype, math.prod(shape)).reshape(shape)

        return read

    places = {name: Place(shape, reader(dtype, shape, start)) for name, (dtype, shape, start, _) in entries.items()}
    return Stored(places, f"{key} is {path}")


def _entry(each: Mapping[str, Any]) -> tuple[np.dtype, tuple[int, ...], int, int]:
    """Type, shape, start and end of an array, from its header."""
    start, end = each["data_offsets"]
    dtype, shape = np.dtype(_DTYPES[each["dtype"]]), tuple(map(int, each["shape"]))
    if min((start, *shape), default=0) < 0 or end - start != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"an array {list(shape)} of {end - start} bytes")
    return dtype, shape, int(start), int(end)


def _shards(path: Path, key: str) -> Stored:
    try:
        names = sorted(set(json.loads(read_text(path))["weight_map"].values()))
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ConfigError(f"{key} is {path}, which is no index of safetensors; it holds no weight_map.") from error
    found = Stored({}, f"{key} is {path}")
    for name in names:
        shard = path.parent / Path(name).name
        require(shard.is_file(), f"{key} is {path}, which names {name}, a file that is not beside it.")
        found = found.joined(_READERS[shard.suffix](shard, key) if shard.suffix in _READERS else opened(shard, key))
    return found


def _torch(path: Path, key: str) -> Stored:
    """PyTorch's files hold the state dict, or it is the `state_dict` of what they hold."""
    try:
        content: Any = torch_files.index(path)
    except torch_files.Damaged as error:
        raise ConfigError(f"{key} is {path}, a damaged file ({error}).") from error
    except torch_files.Unknown as error:
        content = weights_files.by_torch(path, key, str(error), within=True)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    require(isinstance(content, Mapping), f"{key} is {path}, which holds no state dict.")
    return Stored(_places(content), f"{key} is {path}")


def _places(content: Mapping[Any, Any]) -> dict[str, Place]:
    """The arrays among the values."""
    found = {}
    for name, value in content.items():
        if isinstance(value, torch_files.Later):
            found[str(name)] = Place(value.shape, value.read)
        elif isinstance(value, np.ndarray):
            found[str(name)] = Place(value.shape, lambda value=value: value)
    return found


def _npz(path: Path, key: str) -> Stored:
    return Stored(_places(weights_files.read(path, key)), f"{key} is {path}")


_READERS = {
    ".safetensors": _safetensors, ".json": _shards, ".ckpt": _torch, ".pt": _torch, ".pth": _torch, ".bin": _torch,
    ".npz": _npz,
}  # fmt: skip
