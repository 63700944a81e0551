"""Which examples are held out for testing, where a set does not say: a fixed rule without any seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def held_out(keys: Sequence[str], fraction: float) -> np.ndarray:
    """Bool [len(keys)], True for about a `fraction` of `keys`.

    Whether a key is held out depends on the key alone, so adding examples never moves one from training to testing.
    Only where that leaves one side empty, the key with the smallest (or largest) hash changes sides.

    >>> bool((held_out(["a", "b", "c"], 0.5) == held_out(["a", "b", "c", "d"], 0.5)[:3]).all())
    True
    """
    shares = np.array([_share(key) for key in keys])
    test = shares < fraction
    if len(keys) > 1 and not test.any():
        test[shares.argmin()] = True
    if len(keys) > 1 and test.all():
        test[shares.argmax()] = False
    return test


def _share(key: str) -> float:
    """A number in [0, 1) that depends on `key` only."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
