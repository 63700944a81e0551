"""What a checkpoint says about itself: the shape, dtype and checksum of each array, and a digest over the rest.

The manifest is written in the same atomic step as the arrays. Because its digest is checked first, a tree that
differs from it was asked for wrongly (another configuration), while arrays that differ from it are damaged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from glowdiff.workdir.checksum import as_array, checksums
from glowdiff.workdir.faults import DamagedError

Manifest = dict[str, Any]

_SHOWN = 8  # differences that a message lists


def describe(
    step: int, arrays: Mapping[str, jax.Array], data: dict[str, Any], metrics: Mapping[str, float]
) -> Manifest:
    """The manifest of a state, as JSON.

    Every process of a multi-process run must call this at the same time.

    Args:
      step: the number of training steps that led to the state.
      arrays: the state's leaves by path.
      data: the data pipeline's position, as it comes back from JSON.
      metrics: numbers by name.
    """
    sums = checksums(dict(arrays))
    leaves = {}
    for path, array in arrays.items():
        leaves[path] = {"shape": list(array.shape), "dtype": str(array.dtype), "checksum": sums[path]}
        if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
            leaves[path]["key"] = str(jax.random.key_impl(array))
    numbers = {name: float(value) for name, value in metrics.items()}
    manifest = {"step": int(step), "leaves": leaves, "metrics": numbers}
    return {**manifest, "digest": _digest(manifest, data)}


def check_digest(manifest: Manifest, data: dict[str, Any]) -> None:
    """Raise `DamagedError` if the manifest, or the position of the data, is not what was saved."""
    content = {name: value for name, value in manifest.items() if name != "digest"}
    if manifest.get("digest") != _digest(content, data):
        raise DamagedError("the digest over its metadata and its data position differs")


def check_checksums(manifest: Manifest, arrays: Mapping[str, jax.Array]) -> None:
    """Raise `DamagedError` naming the arrays whose bits are not those that were saved.

    Every process of a multi-process run must call this at the same time; all of them raise, or none.
    """
    sums = checksums(dict(arrays))
    wrong = [path for path, value in sums.items() if value != manifest["leaves"][path]["checksum"]]
    if wrong:
        raise DamagedError(f"the checksum of {_some(wrong, ', ')} differs")


def differences(manifest: Manifest, like: Mapping[str, Any], *, part: bool = False) -> str:
    """Say how the leaves that `like` asks for differ from those that were saved; empty if they do not.

    Args:
      manifest: what was saved.
      like: arrays or `jax.ShapeDtypeStruct`s by path.
      part: whether `like` may leave saved leaves out.
    """
    saved = manifest["leaves"]
    problems = []
    for path, leaf in like.items():
        if path not in saved:
            problems.append(f"{path} is not in the checkpoint")
            continue
        array = leaf if hasattr(leaf, "dtype") else as_array(path, leaf)
        shape, dtype = tuple(saved[path]["shape"]), saved[path]["dtype"]
        if shape != tuple(array.shape):
            problems.append(f"{path} has shape {shape} in the checkpoint, but {tuple(array.shape)} here")
        elif dtype != str(array.dtype):
            problems.append(f"{path} is {dtype} in the checkpoint, but {array.dtype} here")
    if not part:
        problems += [f"{path} is in the checkpoint, but not here" for path in saved if path not in like]
    return _some(problems, "\n  ")


def nested(leaves: dict[str, Any]) -> dict[str, Any]:
    """Leaves by path as nested dicts, whatever the containers: what is stored depends on no class."""
    tree: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


def stored_form(leaf: Any, entry: Mapping[str, Any]) -> jax.ShapeDtypeStruct:
    """The shape, dtype and sharding in which the stored form of `leaf` is read back."""
    sharding = getattr(leaf, "sharding", None) or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    if "key" not in entry:
        return jax.ShapeDtypeStruct(tuple(entry["shape"]), jnp.dtype(entry["dtype"]), sharding=sharding)
    # A sharding of the keys says nothing about the last axis, their integers, which is then not split.
    data = jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0, impl=entry["key"])))
    return jax.ShapeDtypeStruct((*entry["shape"], *data.shape), data.dtype, sharding=sharding)


def from_stored(array: jax.Array, entry: Mapping[str, Any]) -> jax.Array:
    """The array that was saved as `array`."""
    return jax.random.wrap_key_data(array, impl=entry["key"]) if "key" in entry else array


def _digest(content: Any, data: Any) -> str:
    # Shortest-roundtrip floats and sorted keys: the text is the same before and after a trip through JSON.
    return hashlib.sha256(json.dumps([content, data], sort_keys=True).encode()).hexdigest()


def _some(items: Sequence[str], separator: str) -> str:
    more = len(items) - _SHOWN
    return separator.join(items[:_SHOWN]) + (f"{separator}and {more} more" if more > 0 else "")
