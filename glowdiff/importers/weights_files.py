"""Files that hold a checkpoint's arrays by name: .npz, .safetensors, also in shards, and .pt."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from glowdiff.archives import FILE_LIMIT, open_npz
from glowdiff.errors import ConfigError, require
from glowdiff.files import check_ordinary, read_text
from glowdiff.importers import torch_files

_CONTENT = "an .npz, .safetensors or .pt file of the state dict"
_TO_NPZ = "np.savez(path, **{key: tensor.numpy() for key, tensor in state_dict.items()})"


def read(path: Path, key: str = "--weights", unread: str = "") -> dict[str, np.ndarray]:
    """The arrays of a state dict, floating point ones in float32.

    Args:
      path: of the file; its ending says what it is. `.json` is the index of safetensors in shards beside it.
      key: the flag that names the file, for messages.
      unread: a regular expression of names that are left out.

    Raises:
      ConfigError: the file is missing, damaged, of another kind, or holds anything but finite numbers; or the package
        that reads it is missing. Nothing in a file is ever run.
    """
    path = path.expanduser()
    if path.suffix not in (".npz", *_READERS):
        raise ConfigError(f"{key} is {path}; it must be {_CONTENT}.")
    require(path.exists(), f"{key} is {path}, where there is no file; it must be {_CONTENT}.")
    try:
        check_ordinary(path, FILE_LIMIT)
        stored = _npz(path, key, unread) if path.suffix == ".npz" else _READERS[path.suffix](path, key)
    except OSError as error:
        raise ConfigError(f"{key} is {path}, which cannot be read ({error.strerror or error}).") from error
    arrays = {name: array for name, array in stored.items() if not re.fullmatch(unread, name)}
    require(bool(arrays), f"{key} is {path}, which holds no weights.")
    return {name: numbers(f"{key} is {path}", name, array) for name, array in arrays.items()}


def _npz(path: Path, key: str, unread: str) -> dict[str, np.ndarray]:
    with open_npz(path, key, _CONTENT, _TO_NPZ) as arrays:
        return {name: arrays[name] for name in arrays if not re.fullmatch(unread, name)}


def _safetensors(path: Path, key: str) -> dict[str, np.ndarray]:
    try:
        from safetensors.numpy import load_file  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ConfigError(
            f"{key} is {path}, which the package safetensors reads; install it (pip install safetensors), or save the "
            f"weights with {_TO_NPZ}."
        ) from None
    try:
        return load_file(path)
    except Exception as error:
        raise ConfigError(f"{key} is {path}, a damaged file ({type(error).__name__}: {error}).") from error


def _shards(path: Path, key: str) -> dict[str, np.ndarray]:
    try:
        names = sorted(set(json.loads(read_text(path))["weight_map"].values()))
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ConfigError(f"{key} is {path}, which is no index of safetensors; it holds no weight_map.") from error
    arrays: dict[str, np.ndarray] = {}
    for name in names:
        shard = path.parent / Path(name).name
        require(shard.is_file(), f"{key} is {path}, which names {name}, a file that is not beside it.")
        arrays |= _safetensors(shard, key)
    return arrays


def _torch(path: Path, key: str) -> dict[str, np.ndarray]:
    try:
        state = torch_files.read(path)
    except torch_files.Damaged as error:
        raise ConfigError(f"{key} is {path}, a damaged file ({error}).") from error
    except torch_files.Unknown as error:
        return by_torch(path, key, str(error))
    return _state_dict(path, key, state, np.ndarray)


def by_torch(path: Path, key: str, why: str, *, within: bool = False) -> dict[str, np.ndarray]:
    """The state dict in a file of a kind that `torch_files` does not know; `within`: or the `state_dict` in that.

    Raises:
      ConfigError: PyTorch is not there, or does not read the file as weights alone.
    """
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ConfigError(
            f"{key} is {path}, which only PyTorch reads, if anything ({why}); install it (pip install torch), or where "
            f"it is installed save the weights with {_TO_NPZ}, in which state_dict is "
            'torch.load(path, weights_only=True, map_location="cpu").'
        ) from None
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # of PyTorch's own unpickler, which refuses everything but arrays
        said = str(error).partition("\n")[0]
        raise ConfigError(f"{key} is {path}, which PyTorch does not read as weights alone ({said}).") from error
    if within and isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    tensors = _state_dict(path, key, state, torch.Tensor)
    half = torch.bfloat16  # of which NumPy has none
    return {name: (tensor.float() if tensor.dtype == half else tensor).numpy() for name, tensor in tensors.items()}


def _state_dict(path: Path, key: str, state: Any, kind: type) -> dict[str, Any]:
    """`state`, once it is sure that it is a dictionary of arrays, which are of this kind."""
    require(isinstance(state, dict), f"{key} is {path}, which holds a {type(state).__name__}, not a state dict.")
    strangers = [name for name, value in state.items() if not isinstance(value, kind)]
    require(
        not strangers,
        f"{key} is {path}, whose {', '.join(map(str, strangers[:4]))} is no array; save the state dict itself.",
    )
    return state


def numbers(origin: str, name: str, array: np.ndarray) -> np.ndarray:
    """An array of a file: floating point ones in float32.

    Args:
      origin: what messages begin with, such as "--weights is FILE".
      name: of the array.
      array: as it was read.

    Raises:
      ConfigError: it holds anything but finite numbers.
    """
    if np.issubdtype(array.dtype, np.integer):
        return array
    # ml_dtypes' bfloat16 is no np.floating.
    floating = np.issubdtype(array.dtype, np.floating) or array.dtype.name == "bfloat16"
    require(floating, f"{origin}, whose {name} is {array.dtype}; weights must be numbers.")
    array = array.astype(np.float32, copy=False)
    require(bool(np.isfinite(array).all()), f"{origin}, whose {name} holds values that are not finite.")
    return array


_READERS = {".safetensors": _safetensors, ".json": _shards, ".pt": _torch, ".pth": _torch}
