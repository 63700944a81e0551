"""The flags of a command: read, checked in the user's words, and shown on a screen."""

from __future__ import annotations

import argparse
import re
import textwrap
import typing
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from glowdiff.cli.flag import WIDTH, Flag, columns
from glowdiff.config.options import SampleOptions, check_value, configured
from glowdiff.errors import ConfigError, likely, require

HELP = ("--help", "-h", "--helpshort", "--helpfull")


class Parsed:
    """What was typed, by attribute; what was not is as the flag says otherwise.

    Attributes:
      given: names of the flags that were typed.
      keys: of sections, such as {"config.train.steps": "3"}.
    """

    def __init__(self, flags: Iterable[Flag], values: dict[str, Any], keys: dict[str, str]) -> None:
        """Of a command's flags, and the values of those that were typed."""
        self.given, self.keys = frozenset(values), keys
        self._values = {flag.dest: flag.otherwise for flag in flags} | values

    def __getattr__(self, name: str) -> Any:
        """The value of a flag."""
        if name.startswith("_") or name not in self._values:
            raise AttributeError(name)
        return self._values[name]

    def options(self, names: Iterable[str], prefix: str = "") -> dict[str, Any]:
        """Those of flags that were typed, without the prefix of their names."""
        return {name: self._values[prefix + name] for name in names if prefix + name in self.given}


class Flags:
    """The flags of one command.

    A flag is `--name=value` or `--name value`; dashes in its name are underscores, and names are never shortened. A
    switch is `--ema`, `--noema`, `--no-ema` or `--ema=false`. Whatever belongs to no flag is an error.

    Attributes:
      command: as it is typed.
    """

    def __init__(self, command: str, about: str, page: str, usage: str, *, section: str = "") -> None:
        """Of a command that has none yet.

        Args:
          command: as it is typed, such as `glowdiff sample`.
          about: what it does.
          page: of the documentation.
          usage: what is typed after the command, for example.
          section: whose keys, `--config.KEY=VALUE`, are kept as they are typed; empty: there is none.
        """
        self.command, self._about, self._page, self._usage, self._section = command, about, page, usage, section
        self._parser = _Parser(add_help=False, allow_abbrev=False)
        self._flags: dict[str, Flag] = {}
        self._shown: list[tuple[str, list[str]]] = []  # the names of flags, and their lines of help
        self._short: list[tuple[str, frozenset[str]]] = []  # a line, and the flags that it stands for

    def add(self, name: str, about: str, kind: Any = str, **rules: Any) -> None:
        """Add a flag; rules are those of `Flag`."""
        self._keep(self._parser.add_argument(f"--{name}", dest=name, action=Flag, about=about, kind=kind, **rules))

    def add_word(self, name: str, about: str, **rules: Any) -> None:
        """Add a word that is no flag, such as the name of a data set."""
        self._keep(self._parser.add_argument(name, action=Flag, about=about, nargs="?", **rules))

    def note(self, left: str, about: str) -> None:
        """Explain in the help what is no flag of its own, such as `--config.KEY=VALUE`."""
        self._shown.append(("", columns(left, about)))

    def add_options(self, names: Iterable[str], prefix: str = "") -> None:
        """Add the options of samples that are named; a prefix stands in front of their flags."""
        hints, names = typing.get_type_hints(SampleOptions), set(names)
        for each in configured():
            if each.name in names:
                check = partial(check_value, field=each)
                self.add(prefix + each.name, each.metadata["about"], hints[each.name], check=check)

    def shorten(self, names: Iterable[str], line: str) -> None:
        """Show flags by a line, of which `...` stands for their names; `--helpfull` shows each."""
        names = list(names)
        self._short.append((line.replace("...", " ".join(f"--{name}" for name in names)), frozenset(names)))

    def parse(self, arguments: Sequence[str]) -> Parsed:
        """What was typed.

        Raises:
          ConfigError: there is no such flag, it is given twice or cannot have this value, or a word belongs to none.
          SystemExit: help was asked for, and is printed.
        """
        if any(word in HELP for word in arguments):
            print(self.help(full="--helpfull" in arguments))
            raise SystemExit(0)
        words, keys = self._split(arguments)
        values, rest = self._parser.parse_known_args(words)
        if rest:
            self._refuse(rest, words)
        for name, flag in self._flags.items():
            require(not flag.needed or hasattr(values, name), f"{flag.key} is missing: {flag.about}")
        return Parsed(self._flags.values(), vars(values), keys)

    def help(self, *, full: bool = False) -> str:
        """How the command is used."""
        short = [] if full else self._short
        lines = textwrap.wrap(f"{self.command} {self._usage}", WIDTH, subsequent_indent="    ", break_on_hyphens=False)
        lines += [*textwrap.wrap(f"{self._about} See {self._page}.", WIDTH), ""]
        shortened = frozenset[str]().union(*(names for _, names in short))
        lines += [line for name, own in self._shown if name not in shortened for line in own]
        for line, _ in short:
            lines += textwrap.wrap(line, WIDTH, subsequent_indent="    ", break_on_hyphens=False)
        return "\n".join([*lines, "--helpfull shows every flag in full."] if short else lines)

    def _keep(self, flag: argparse.Action) -> None:
        assert isinstance(flag, Flag)
        self._flags[flag.dest] = flag
        self._shown.append((flag.dest, flag.lines()))

    def _split(self, arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """Words in which every flag has its one spelling, and the keys of the section."""
        words: list[str] = []
        keys: dict[str, str] = {}
        ahead = list(arguments)
        while ahead:
            word = ahead.pop(0)
            name, equals, value = word.removeprefix("--").partition("=")
            if self._section and word.startswith(f"--{self._section}."):
                if not equals:
                    require(bool(ahead) and not ahead[0].startswith("--"), f"--{name} needs a value: --{name}=VALUE.")
                    value = ahead.pop(0)
                require(name not in keys, f"--{name} is given twice: {keys.get(name)!r} and {value!r}.")
                keys[name] = value
            elif word.startswith("--") and name:
                words.append(self._spelt(name.replace("-", "_"), equals + value))
            else:
                words.append(word)
        return words, keys

    def _spelt(self, name: str, rest: str) -> str:
        """A flag as argparse knows it; `rest` is `=value`, or nothing."""
        if not rest and self._is_switch(name):
            return f"--{name}=true"
        for prefix in ("no", "no_"):
            if not rest and name.startswith(prefix) and self._is_switch(name.removeprefix(prefix)):
                return f"--{name.removeprefix(prefix)}=false"
        return f"--{name}{rest}"

    def _is_switch(self, name: str) -> bool:
        return name in self._flags and self._flags[name].kind is bool

    def _refuse(self, rest: Sequence[str], words: Sequence[str]) -> NoReturn:
        """Say what is wrong with words that belong to no flag."""
        flags = [f"--{name}" for name, flag in self._flags.items() if flag.option_strings]
        for word in rest:
            if re.match(r"--?[A-Za-z]", word):
                typed = word.partition("=")[0]
                close = likely(f"--{typed.lstrip('-')}", flags)
                hint = f"Did you mean {close[0]}?" if close else f"It takes {', '.join(flags)}."
                raise ConfigError(f"{self.command} has no {typed}. {hint}")
        stray, before = " ".join(rest), words[max(0, words.index(rest[0]) - 1)]
        name, _, value = before.removeprefix("--").partition("=")
        flag = self._flags.get(name) if before.startswith("--") else None
        what, hint = f"what is {stray!r}? It belongs to no flag of {self.command}", f", which takes {', '.join(flags)}."
        if flag is not None and flag.nargs == "+":
            hint = f". If it belongs to --{name}, write --{name} {value} {stray}."
        elif flag is not None and flag.kind in (str, Path):  # words with spaces between them
            hint = f". If it belongs to --{name}, put the whole in quotes: --{name}={f'{value} {stray}'!r}."
        raise ConfigError(what + hint)


class _Parser(argparse.ArgumentParser):
    """One whose errors are ours."""

    def error(self, message: str) -> NoReturn:
        """Raise `ConfigError` where argparse would print, and end the process."""
        flag = re.match(r"argument (--\w+): expected", message)
        raise ConfigError(f"{flag[1]} needs a value: {flag[1]}=VALUE." if flag else f"{message}.")
