"""Numbers that callers, flags and configurations give: of the right kind, finite, and within limits."""

from __future__ import annotations

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from glowdiff.errors import ConfigError, require, shown

# What is multiplied by more overflows float32 sooner or later, and is no picture long before that.
HOTTEST = 100  # times the latents' own deviation
STRONGEST = 10_000  # scale of guidance, of either sign
CELLS = 10_000  # small pictures in one that people look at
FARTHEST = 1_000  # alpha of an attribute's vector, of either sign
SEEDS = 2**32  # of `jax.random.key`: what is larger would draw what a smaller one draws


def check_number(
    name: str,
    value: Any,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    whole: bool = False,
) -> None:
    """Raise `ConfigError` unless a value is one finite number within limits.

    Args:
      name: what it is called in the message.
      value: of Python or NumPy, or an array without axes; what is being traced has no value yet, and passes.
      low: the least that it may be,
      above: or what it must exceed,
      high: and the most.
      whole: whether it must be an integer.
    """
    if isinstance(value, Tracer):
        return
    value = as_python(value)
    kinds = int if whole else int | float
    article = "a whole number" if whole else "a number"
    require(
        isinstance(value, kinds) and not isinstance(value, bool), f"{name} is {shown(value)}; it must be {article}."
    )
    inside = abs(value) <= sys.float_info.max  # neither infinite nor NaN
    inside = inside and (low is None or value >= low) and (above is None or value > above)
    require(inside and (high is None or value <= high), f"{name} is {shown(value)}; {_expected(low, above, high)}")


def check_seed(name: str, value: Any) -> None:
    """Raise `ConfigError` unless a value is a seed: a whole number of 32 bits."""
    check_number(name, value, low=0, high=SEEDS - 1, whole=True)


def listed(key: str, text: str, kind: type) -> tuple[Any, ...]:
    """The numbers, separated by commas, of a key; of none there are none.

    >>> listed("model.network.channel_mult", "1,2,4", int)
    (1, 2, 4)

    Raises:
      ConfigError: the text holds anything else.
    """
    try:
        return tuple(kind(part) for part in text.split(",")) if text.strip() else ()
    except ValueError as error:
        example = "32,16,8" if kind is int else "1,2,3,4"
        raise ConfigError(
            f"{key} is {text!r}; it must be {'whole ' if kind is int else ''}numbers with commas between them, such as "
            f"{example!r}."
        ) from error


def as_python(value: Any) -> Any:
    """The number or text that a scalar of NumPy, or an array without axes, holds; anything else stays as it is."""
    if isinstance(value, Tracer):
        return value
    key = isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    scalar = isinstance(value, np.generic) or (isinstance(value, np.ndarray | jax.Array) and value.ndim == 0)
    return value.item() if scalar and not key else value


def _expected(low: float | None, above: float | None, high: float | None) -> str:
    if (low, high) == (0, 1):
        return "it is a share, from 0 to 1."
    if low is None and above is None and high is not None:
        return f"it must be at most {high}."
    if high is not None:
        return f"it must be from {low} to {high}." if above is None else f"it must be above {above} and at most {high}."
    return "it must be a finite number." if low is None else f"it must be at least {low}."
