"""One flag of a command: what it takes, and its lines of help."""

from __future__ import annotations

import argparse
import math
import textwrap
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from glowdiff.cli.paths import expanded
from glowdiff.config.values import from_text
from glowdiff.errors import require, require_choice

WIDTH = 80  # of a screen
_COLUMN = 25  # in which the help of a flag begins
_SHOWN = {Path: "FILE", str: "TEXT", int: "N", float: "X", bool: ""}


class Flag(argparse.Action):
    """A flag, or a word that is none; argparse calls it when it is met."""

    def __init__(
        self,
        option_strings: Sequence[str],
        dest: str,
        *,
        about: str,
        kind: Any = str,
        nargs: str | None = None,
        default: Any = None,
        needed: bool = False,
        repeated: bool = False,
        low: float | None = None,
        high: float | None = None,
        choices: Sequence[str] = (),
        check: Callable[[str, Any], None] | None = None,
        shown: str = "",
        **_: Any,
    ) -> None:
        """Declare one.

        Args:
          option_strings: `--name`; none of a word.
          dest: its name.
          about: its help.
          kind: str, int, float, bool, or `float | None` and the like; Path of files and folders, whose `~` is expanded.
          nargs: "+" of a list of words.
          default: without it.
          needed: there is nothing without it.
          repeated: it may be given several times, and is a list.
          low: the least that a number may be,
          high: and the most.
          choices: what it may be.
          check: of its name in messages and its value; raises `ConfigError` for what cannot be.
          shown: in the help, in place of the value.
        """
        super().__init__(option_strings, dest, nargs=nargs, default=argparse.SUPPRESS)
        self.about, self.kind, self.needed, self.repeated = about, kind, needed, repeated
        self.otherwise, self.low, self.high, self.known, self.shown = default, low, high, tuple(choices), shown
        self.check = check

    @property
    def key(self) -> str:
        """What it is called in messages."""
        return f"--{self.dest}" if self.option_strings else self.dest.upper()

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        """Read what was typed."""
        del parser, option_string
        texts = values if isinstance(values, list) else [values]
        value: Any = [self._read(text) for text in texts]
        if self.repeated:
            value = [*getattr(namespace, self.dest, ()), *value]
        else:
            require(not hasattr(namespace, self.dest), f"{self.key} is given twice; once is enough.")
            value = value if self.nargs == "+" else value[0]
        setattr(namespace, self.dest, value)

    def lines(self) -> list[str]:
        """Its help."""
        if self.kind is bool:
            left = f"--[no]{self.dest}" if self.otherwise else f"--{self.dest}"
        elif self.option_strings:
            value = self.shown or self.otherwise or _SHOWN[_plain(self.kind)]
            left = f"--{self.dest}{' ' if self.nargs else '='}{value}{' ...' if self.nargs else ''}"
        else:
            left = self.key
        return columns(left, self.about)

    def _read(self, text: str) -> Any:
        if self.kind is Path:
            return expanded(self.key, text)
        value = from_text(self.key, text, self.kind)
        if self.known:
            require_choice(self.key, value, self.known)
        if value is not None and self.low is not None:
            high = math.inf if self.high is None else self.high
            limits = f"at least {self.low}" if self.high is None else f"from {self.low} to {self.high}"
            require(self.low <= value <= high, f"{self.key} is {text}; it must be {limits}.")
        if self.check is not None:
            self.check(self.key, value)
        return value


def columns(left: str, right: str) -> list[str]:
    """Lines of help: what is typed, and beside or below it what it is."""
    lines = [" " * _COLUMN + line for line in textwrap.wrap(right, WIDTH - _COLUMN)]
    if len(left) > _COLUMN - 3:
        return [f"  {left}", *lines]
    return [f"  {left}".ljust(_COLUMN) + lines[0].lstrip(), *lines[1:]]


def _plain(kind: Any) -> Any:
    """`float` of `float | None`."""
    parts = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    return next(each for each in parts if each is not type(None))
