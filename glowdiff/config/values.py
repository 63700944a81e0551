"""Values of keys and flags, of the types that the fields' hints name."""

from __future__ import annotations

import types
import typing
from typing import Any

from glowdiff.errors import ConfigError


def typed(key: str, value: Any, hint: Any) -> Any:
    """A value of Python or JSON as the hint has it, a whole number as float.

    Raises:
      ConfigError: it is of another type; `key` is its name in the message.
    """
    accepted = plain_types(hint)
    if value is None:
        if type(None) in typing.get_args(hint):
            return None
        raise ConfigError(f"{key} is None; it must be {accepted[0].__name__}.")
    if float in accepted and type(value) is int:
        return float(value)
    if type(value) not in accepted:
        names = " or ".join(kind.__name__ for kind in accepted)
        raise ConfigError(f"{key} is {value!r}, of type {type(value).__name__}; it must be {names}.")
    return value


def from_text(key: str, text: str, hint: Any) -> Any:
    """What a flag's text stands for; `none` where there may be None.

    Raises:
      ConfigError: nothing of that type; `key` is its name in the message.
    """
    kind = plain_types(hint)[0]
    if text.lower() in ("none", *([""] if kind is str else [])) and type(None) in typing.get_args(hint):
        return None
    if kind is str:
        return text
    try:
        if kind is bool:
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
        return kind(text.replace("_", "") if kind is int else text)
    except (KeyError, ValueError):
        expected = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        none = ", or none" if type(None) in typing.get_args(hint) else ""
        raise ConfigError(f"{key} is {text!r}; it must be {expected}{none}.") from None


def plain_types(hint: Any) -> tuple[type, ...]:
    """The types that a hint allows, None apart."""
    if isinstance(hint, types.UnionType):
        return tuple(kind for kind in typing.get_args(hint) if kind is not type(None))
    return (hint,)
