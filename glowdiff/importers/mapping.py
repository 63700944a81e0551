"""Turning a flat dictionary of an original's weights into our variables, with every mismatch named."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Path = tuple[str, ...]


class WeightsError(ValueError):
    """Weights that do not fit the model; the message names the keys."""


class Source(NamedTuple):
    """Where one of our arrays comes from: the original's keys, and how their arrays become ours."""

    keys: tuple[str, ...]
    convert: Callable[..., np.ndarray]


def convert(
    weights: Mapping[str, np.ndarray],
    sources: Mapping[Path, Source],
    ignored: Iterable[str] = (),
    leaf: Callable[[np.ndarray], Any] = jnp.asarray,
) -> dict:
    """Build our nested variables.

    Args:
      weights: the original's arrays by its names.
      sources: for each of our arrays (its path), where it comes from.
      ignored: keys that may be present and have no counterpart.
      leaf: what to keep of each converted array.

    Returns:
      Nested dictionaries of jax arrays, or of what `leaf` returns.

    Raises:
      WeightsError: a key is missing, was not expected, or its array has too few axes.
    """
    needed = {key for source in sources.values() for key in source.keys}
    missing = sorted(needed - set(weights))
    extra = sorted(set(weights) - needed - set(ignored))
    if missing or extra:
        lines = [_describe("missing", missing, extra), _describe("not expected", extra, missing)]
        raise WeightsError("The weights do not fit the flags. " + " ".join(line for line in lines if line))
    tree: dict[str, Any] = {}
    for path, source in sources.items():
        array = _converted(source, weights)
        node = tree
        for name in path[:-1]:
            node = node.setdefault(name, {})
        node[path[-1]] = leaf(array)
    return tree


def _converted(source: Source, weights: Mapping[str, np.ndarray]) -> np.ndarray:
    arrays = [np.asarray(weights[key]) for key in source.keys]
    try:
        return source.convert(*arrays)
    except (IndexError, ValueError) as error:
        listed = ", ".join(f"{key}: {array.shape}" for key, array in zip(source.keys, arrays, strict=True))
        raise WeightsError(f"Shapes that no flags ask for: {listed}.") from error


def check_shapes(variables: Any, expected: Any, sources: Mapping[Path, Source]) -> None:
    """Raise `WeightsError` naming the original's keys, if an array has another shape or kind than the module's."""
    wanted = {_path(path): _kind(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(expected)}
    ours = {_path(path): _kind(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(variables)}
    wrong = [
        f"{', '.join(sources[path].keys[:2])}: {ours[path]}, where the flags ask for {kind}"
        for path, kind in wanted.items()
        if ours.get(path) != kind
    ]
    if wrong:
        raise WeightsError("Shapes that do not fit the flags (after conversion): " + "; ".join(wrong[:8]) + ".")


def _kind(leaf: Any) -> str:
    return f"{leaf.shape}" + (" of integers" if jnp.issubdtype(leaf.dtype, jnp.integer) else "")


def _path(path: tuple[Any, ...]) -> Path:
    return tuple(str(entry.key) for entry in path)


def _describe(what: str, keys: list[str], others: list[str]) -> str:
    if not keys:
        return ""
    shown = []
    for key in keys[:8]:
        close = difflib.get_close_matches(key, others, 1)
        shown.append(f"{key} (similar: {close[0]})" if close else key)
    more = f" and {len(keys) - 8} more" if len(keys) > 8 else ""
    return f"{what.capitalize()}: {', '.join(shown)}{more}."
