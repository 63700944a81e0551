"""Turning a flat dictionary of an original's weights into our variables, with every mismatch named."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from glowdiff.errors import likely

Path = tuple[str, ...]
Arrays = Mapping[str, np.ndarray]
_SHOWN = 8  # keys of a message


class WeightsError(ValueError):
    """Weights that do not fit the model; the message names the keys."""


class Source(NamedTuple):
    """Where one of our arrays comes from: the original's keys, and how their arrays become ours."""

    keys: tuple[str, ...]
    convert: Callable[..., np.ndarray] = np.asarray
    optional: bool = False  # zeros, where the weights have none of the keys


def float32(array: np.ndarray) -> jax.Array:
    """An array of the variables: float32, or indices."""
    return jnp.asarray(array, jnp.int32 if jnp.issubdtype(array.dtype, jnp.integer) else jnp.float32)


def convert(
    weights: Arrays,
    sources: Mapping[Path, Source],
    expected: Mapping[Path, Any],
    leaf: Callable[[np.ndarray], Any] = float32,
    unused: str = "",
) -> dict[Path, Any]:
    """Our arrays.

    Args:
      weights: the original's arrays by its names.
      sources: for each of our arrays (its path), where it comes from.
      expected: shapes and dtypes of the module's arrays, see `leaves`.
      leaf: what to keep of each converted array.
      unused: a regular expression of keys that may have no counterpart.

    Raises:
      WeightsError: a key is missing or was not expected, or its array has another shape or kind than the module's.
    """
    present = {path: source for path, source in sources.items() if not source.optional or {*source.keys} & {*weights}}
    needed = {key for source in present.values() for key in source.keys}
    missing = sorted(needed - {*weights})
    extra = sorted(key for key in {*weights} - needed if not re.fullmatch(unused, key))
    if missing or extra:
        lines = (_described("Missing", missing, extra), _described("Not expected", extra, missing))
        raise WeightsError("The weights do not fit the flags. " + " ".join(filter(None, lines)))
    arrays, wrong = {}, []
    for path, source in sources.items():
        array = _converted(source, weights) if path in present else np.zeros(expected[path].shape, np.float32)
        if _kind(array) != _kind(expected[path]):
            keys = ", ".join(source.keys[:2])
            wrong.append(f"{keys}: {_kind(array)}, where the flags ask for {_kind(expected[path])}")
        else:
            arrays[path] = leaf(array)
    if wrong:
        raise WeightsError("Shapes that do not fit the flags (after conversion): " + "; ".join(wrong[:_SHOWN]) + ".")
    return arrays


def leaves(tree: Any) -> dict[Path, Any]:
    """The leaves of nested dictionaries by their paths."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {tuple(str(entry.key) for entry in path): leaf for path, leaf in leaves}


# ---- Axes: of PyTorch's arrays, and of layers that are scanned.


def conv(kernel: np.ndarray) -> np.ndarray:
    """[out, in, height, width] -> [height, width, in, out]."""
    return kernel.transpose(2, 3, 1, 0)


def matrix(kernel: np.ndarray) -> np.ndarray:
    """[out, in], or a convolution over one pixel, [out, in, 1] or [out, in, 1, 1] -> [in, out]."""
    if kernel.ndim < 2 or math.prod(kernel.shape[2:]) != 1:
        raise ValueError("not a matrix")
    return kernel.reshape(kernel.shape[:2]).T


def third(which: int, each: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Of the queries, keys and values that lie in one array, [3 out, ...], one, which `each` converts."""

    def convert(array: np.ndarray) -> np.ndarray:
        return each(np.split(array, 3)[which])

    return convert


def stacked(each: Callable[[np.ndarray], np.ndarray]) -> Callable[..., np.ndarray]:
    """The arrays of all layers in one, [layers, ...], of which `each` converts a layer's."""

    def convert(*arrays: np.ndarray) -> np.ndarray:
        return np.stack([each(array) for array in arrays])

    return convert


def _converted(source: Source, weights: Arrays) -> np.ndarray:
    arrays = [np.asarray(weights[key]) for key in source.keys]
    try:
        return source.convert(*arrays)
    except (IndexError, ValueError) as error:
        listed = ", ".join(f"{key}: {array.shape}" for key, array in zip(source.keys, arrays, strict=True))
        raise WeightsError(f"Shapes that no flags ask for: {listed}.") from error


def _kind(leaf: Any) -> str:
    return f"{leaf.shape}" + (" of integers" if jnp.issubdtype(leaf.dtype, jnp.integer) else "")


def _described(what: str, keys: list[str], others: list[str]) -> str:
    if not keys:
        return ""
    similar = [(key, "".join(f" (similar: {name})" for name in likely(key, others))) for key in keys[:_SHOWN]]
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return f"{what}: {', '.join(key + hint for key, hint in similar)}{more}."
