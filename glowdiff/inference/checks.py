"""What scripts pass that flags cannot hold: counts, keys, models and arrays, each checked where it comes in."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glowdiff.config.numbers import as_python, check_number, check_seed
from glowdiff.errors import ConfigError, require, shown

MOST = 2**31 - 1  # the number of an example is an int32


def check_count(name: str, n: Any, shape: tuple[int, ...] = ()) -> int:
    """A number of images, as Python's own.

    Args:
      name: what it is called in messages.
      n: the number.
      shape: of each, in bytes; all of them are kept in memory.

    Raises:
      ConfigError: it is no whole number from 1 on, or this machine's memory cannot hold so many.
    """
    check_number(name, n, low=1, whole=True)
    check_number(name, n, high=MOST)
    number, memory = int(as_python(n)), _memory()
    size = number * math.prod(shape)
    require(
        not memory or size <= memory,
        f"{name} is {number:,}: so many arrays of {'x'.join(map(str, shape))} take {size / 2**30:,.0f} GiB, and this "
        f"machine has {memory / 2**30:,.0f} GiB of memory. Draw them in parts, each with a seed of its own.",
    )
    return number


def check_key(key: Any, n: int | None = None) -> jax.Array:
    """A `jax.random.key`, or one for each of n images.

    Args:
      key: what was passed.
      n: images; None: only one key will do.

    Raises:
      ConfigError: it is anything else; seeds and `PRNGKey`s too.
    """
    typed = isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    legacy = getattr(key, "dtype", None) == np.uint32 and getattr(key, "shape", ())[-1:] == (2,)
    what = "an array of uint32, such as jax.random.PRNGKey makes" if legacy else shown(key)
    require(typed, f"key is {what}; it must be made with jax.random.key(SEED).")
    many = f", or one for each of {n} images" if n is not None else ""
    require(key.shape == () or key.shape == (n,), f"key has shape {list(key.shape)}; it must be one key{many}.")
    return key


def seed_key(seed: Any) -> jax.Array:
    """The key of a seed.

    Raises:
      ConfigError: it is no whole number of 32 bits; what is larger would draw what a smaller one draws.
    """
    check_seed("seed", seed)
    return jax.random.key(int(as_python(seed)))


def check_model(name: str, model: Any) -> Any:
    """A trained model, one with a `method`.

    Raises:
      ConfigError: it is anything else, such as the path of a workdir.
    """
    workdir = repr(str(model)) if isinstance(model, str | PurePath) else "WORKDIR"
    require(
        hasattr(model, "method") and hasattr(model, "variables"),
        f"{name} is {shown(model)}; it must be a model, such as glowdiff.load({workdir}) returns.",
    )
    return model


def check_switch(name: str, value: Any) -> None:
    """Raise `ConfigError` unless a value is True or False."""
    require(isinstance(value, bool | np.bool_), f"{name} is {shown(value)}; it must be True or False.")


def check_texts(name: str, value: Any) -> list[str]:
    """Texts, one or several.

    Raises:
      ConfigError: it is something else, or holds something else, such as bytes or None.
    """
    value = as_python(value)
    if isinstance(value, str):
        value = [value]
    several = isinstance(value, Sequence | np.ndarray) and not isinstance(value, bytes | bytearray)
    require(several, f"{name} is {shown(value)}, of type {type(value).__name__}; it must be text, or a list of texts.")
    texts: list[Any] = list(value)
    for text in texts:
        require(isinstance(text, str), f"{name} holds {shown(text)}, of type {type(text).__name__}; it must be text.")
        require(
            not any("\ud800" <= letter <= "\udfff" for letter in text),
            f"{name} holds {text!a}, which is no Unicode.",
        )
    return [str(text) for text in texts]


def as_array(name: str, value: Any) -> np.ndarray:
    """Numbers, or lists of them, as an array.

    Raises:
      ConfigError: it is something else, such as the name of a file, or lists of different lengths.
    """
    text = isinstance(value, str | bytes | PurePath) or value is None
    try:
        array = np.asarray(None if text else value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} is {shown(value)}; it must be an array, or lists of equal length.") from error
    require(array.dtype.kind in "biuf", f"{name} is {shown(value)}; it must be an array of numbers.")
    return array


def _memory() -> int:
    """Bytes that this machine has; 0 where the system does not tell."""
    names = getattr(os, "sysconf_names", {})
    if not {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= set(names):
        return 0
    return max(0, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
