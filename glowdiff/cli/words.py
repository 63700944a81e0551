"""Commands that are told by a word what to do: `glowdiff train`, `glowdiff edit inpaint`, `glowdiff import adm`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from glowdiff.errors import ConfigError, likely

INTERRUPTED = 130  # the exit status of shells after Ctrl-C


def first_word(arguments: Sequence[str], noun: str, known: Mapping[str, object]) -> str:
    """The first argument, which is one of `known`.

    Raises:
      ConfigError: there is none, or no such `noun`; the likely one is suggested.
    """
    listed = ", ".join(known)
    if not arguments or arguments[0].startswith("-"):
        raise ConfigError(f"which {noun}? The first argument is one of {listed}.")
    word = arguments[0]
    if word not in known:
        hint = "".join(f" Did you mean {close}?" for close in likely(word, known))
        raise ConfigError(f"there is no {noun} {word!r}; the first argument is one of {listed}.{hint}")
    return word


def overview(usage: str, about: str, words: Mapping[str, str], *last: str) -> str:
    """The help of such a command: how it is called, what it is for, its words with a phrase each, closing lines."""
    width = max(map(len, words)) + 2
    listed = [f"  {word:{width}}{phrase}" for word, phrase in words.items()]
    return "\n".join([usage, about, "", *listed, "", *last])
