"""The .npz file that holds an original's variables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glowdiff.errors import require
from glowdiff.files import read_npz

_AVERAGE = "/ExponentialMovingAverage"
# The original's optimisers name their moments by accident: tf.Variable's second argument is not the name.
_OPTIMISER = re.compile(r"Variable(_\d+)?|global_step")


class Archive(NamedTuple):
    """Variables by the original's names."""

    weights: dict[str, np.ndarray]
    averages: dict[str, np.ndarray]  # of the trained ones; empty where the file has none


def read(path: Path) -> Archive:
    """Read the variables of a TensorFlow checkpoint that was saved with `np.savez`.

    The averages that TensorFlow keeps beside a variable are told apart; what only the optimiser needs is left out, and
    so is the `:0` that TensorFlow appends to names.

    Raises:
      ConfigError: the file is missing, is no .npz, or holds anything but finite numbers. Pickled objects are refused
        unread.
    """
    path = path.expanduser()
    arrays = read_npz(path, "--weights", "an .npz file of the variables", "np.savez(path, **arrays)")
    weights: dict[str, np.ndarray] = {}
    averages: dict[str, np.ndarray] = {}
    for key, array in arrays.items():
        name = key.removesuffix(":0")
        base, average, rest = name.partition(_AVERAGE)
        if _OPTIMISER.fullmatch(name) or (average and rest):
            continue
        (averages if average else weights)[base] = _numbers(path, name, array)
    require(bool(weights), f"--weights is {path}, which holds no variables of a model.")
    return Archive(weights, averages)


def _numbers(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    if np.issubdtype(array.dtype, np.integer):
        return array
    require(
        np.issubdtype(array.dtype, np.floating),
        f"--weights is {path}, whose {name} is {array.dtype}; variables must be numbers.",
    )
    require(bool(np.isfinite(array).all()), f"--weights is {path}, whose {name} holds values that are not finite.")
    return array.astype(np.float32)
