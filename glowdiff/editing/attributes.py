"""Which attributes a data set has: its labels, its yes-or-no attributes, and the words of its captions."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable

from glowdiff.data.sources import Example
from glowdiff.errors import ConfigError
from glowdiff.spec import DataSpec

LABEL, CAPTION = "label:", "caption:"  # say that a name is a class's, or a word (or several) in the caption
_MOST_LISTED = 20

Belongs = Callable[[Example], bool]


def find(name: str, spec: DataSpec, key: str = "--attribute") -> Belongs:
    """The function that says whether an example has an attribute.

    Args:
      name: one of `spec.attributes`, a class's name (`label:NAME` where an attribute has the same name), or
        `caption:WORD`: whole words in any case, and what hyphens join is one word.
      spec: of the data.
      key: what the user called it, for the message.

    Raises:
      ConfigError: the data have no such attribute; the message lists those they have, the closest first.
    """
    word = name.removeprefix(CAPTION)
    if word != name and spec.captions and _words(word).strip():
        return lambda example: _words(word) in _words(example.get("caption", ""))
    if name in spec.attributes:
        column = spec.attributes.index(name)
        return lambda example: "attributes" in example and bool(example["attributes"][column])
    label = name.removeprefix(LABEL)
    if label in spec.classes:
        number = spec.classes.index(label)
        return lambda example: int(example["cond"]["label"]) == number
    raise ConfigError(f"{key} is {name!r}, but {_known(name, spec)}")


def _words(text: str) -> str:
    """The words of a text, in lower case, each with spaces around it."""
    words = re.findall(r"[\w-]+", text.lower())
    return f" {' '.join(words)} "


def _known(name: str, spec: DataSpec) -> str:
    names = [*spec.attributes, *spec.classes]
    captions = f"{CAPTION}WORD for a word in the captions" if spec.captions else ""
    if not names:
        return f"{spec.name} knows only {captions}." if captions else f"{spec.name} has neither labels nor attributes."
    plain = name.removeprefix(LABEL).removeprefix(CAPTION).lower()
    names.sort(key=lambda other: -difflib.SequenceMatcher(None, plain, other.lower()).ratio())
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return f"{spec.name} knows {', '.join(names[:_MOST_LISTED])}{more}{', or ' + captions if captions else ''}."
