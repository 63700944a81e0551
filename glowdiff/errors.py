"""What is wrong with what a person asked for, in that person's words."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

_JOINERS = "\u200c\u200d"  # invisible, but scripts and emoji are made with them
_MOST_SHOWN = 70  # characters of a value in a message


class ConfigError(ValueError):
    """Something that was asked for cannot work; the message names it, its value, and what was expected."""

    def __init__(self, message: str) -> None:
        # Messages quote names of files and captions of strangers, and Python prints an error's text as it is.
        super().__init__("\n".join(printable(line) for line in message.split("\n")))


def require(condition: bool, message: str) -> None:
    """Raise `ConfigError(message)` unless `condition` holds."""
    if not condition:
        raise ConfigError(message)


def require_choice(key: str, value: str, choices: Iterable[str]) -> None:
    """Raise `ConfigError` unless `value` is one of `choices`."""
    known = tuple(choices)
    if value not in known:
        hint = "".join(f" Did you mean {name!r}?" for name in likely(value, known))
        raise ConfigError(f"{key} is {value!r}; it must be one of {', '.join(known)}.{hint}")


def likely(name: object, known: Iterable[str], most: int = 1) -> list[str]:
    """The names that were probably meant by an unknown one, the likeliest first; none if nothing is like it.

    Args:
      name: what was asked for.
      known: what there is.
      most: so many at most.

    >>> likely("cifar01", ["digits", "cifar10", "cifar100"], most=3)
    ['cifar10', 'cifar100']
    """
    return difflib.get_close_matches(str(name), list(known), most)


def did_you_mean(name: object, known: Iterable[str], *, prefix: str = "") -> str:
    """What to say of an unknown name: the one that was probably meant, or else all that there are.

    Args:
      name: what was asked for.
      known: what there is.
      prefix: in front of the one that was probably meant, such as `train.`.

    >>> did_you_mean("bacth", ["batch", "steps"], prefix="train.")
    'Did you mean train.batch?'
    >>> did_you_mean("colour", ["batch", "steps"])
    'Known: batch, steps.'
    """
    known = list(known)
    close = likely(name, known)
    return f"Did you mean {prefix}{close[0]}?" if close else f"Known: {', '.join(known)}."


def printable(text: str) -> str:
    r"""`text` for a terminal, in one line: characters that would steer it, reorder the line or are none are escaped.

    >>> print(printable("a\x1b[2Jb\n\u202ec\udcff é"))
    a\x1b[2Jb\n\u202ec\udcff é
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    steers = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in _JOINERS
    return character.encode("unicode_escape").decode() if steers else character


def shown(value: object) -> str:
    """A value in a message: on one line, and not longer than a person would read.

    >>> shown(["heart"] * 99)[-12:]
    "', 'heart..."
    """
    if hasattr(value, "dtype") and getattr(value, "shape", ()):
        return f"an array of {getattr(value, 'dtype', '')} {list(getattr(value, 'shape', ()))}"
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # a whole number of thousands of digits
        text = f"a very large {type(value).__name__}"
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
