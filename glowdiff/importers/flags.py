"""The flags of originals as people have them: a release's name, a command line, key=value, JSON, files of these."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from glowdiff.errors import ConfigError, did_you_mean, likely, require

_BOOLS = {
    **dict.fromkeys(("yes", "true", "t", "y", "1"), True),
    **dict.fromkeys(("no", "false", "f", "n", "0"), False),
}


def read(text: str, releases: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The dictionary of flags in `--flags`; a name alone, such as `learntop`, is true.

    Of a file with several lines of JSON, such as the `train.txt` that Glow's original logs, the first one counts.

    >>> read("--attention_resolutions 32,16 --class_cond True", {})
    {'attention_resolutions': '32,16', 'class_cond': 'True'}
    >>> read("attention_resolutions=32,16,class_cond=True,learntop", {})
    {'attention_resolutions': '32,16', 'class_cond': 'True', 'learntop': 'true'}

    Args:
      text: what was given.
      releases: flags of those that may be named.

    Raises:
      ConfigError: it is none of what this module's title says.
    """
    text = text.strip()
    if not text.startswith(("{", "-")) and "=" not in text:
        path = Path(text).expanduser()
        if not path.is_file():
            return release(text, releases, "--flags")
        text = path.read_text(errors="replace").strip().partition("\n{")[0]
    if text.startswith("{"):
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(f"--flags is not JSON ({error}).") from error
    return _command_line(text) if text.startswith("-") else _pairs(text, releases)


def release(name: str, releases: Mapping[str, Mapping[str, Any]], key: str) -> dict[str, Any]:
    """The flags of a release; `.pt` at the end of its name does not matter.

    Args:
      name: of the release.
      releases: that there are.
      key: the flag that names it, for messages.

    Raises:
      ConfigError: there is no such release.
    """
    if not releases:
        raise ConfigError(
            f"{key} is {name!r}, where there is no file; it must be a JSON file, JSON, or key=value,key=value."
        )
    name = name.removesuffix(".pt")
    hint = "".join(f"did you mean {other}?" for other in likely(name, releases))
    hint = hint or f"there are {', '.join(releases)}."
    require(name in releases, f"{key} is {name!r}, which is no release; {hint}")
    return dict(releases[name])


def values(flags: Mapping[str, Any], known: Mapping[str, Any], ignored: Collection[str] = ()) -> dict[str, Any]:
    """All of `known`, with the flags' values, of the types of the defaults, in place of the defaults.

    Args:
      flags: by name; numbers and booleans may be strings.
      known: flags and their defaults.
      ignored: flags that say nothing here.

    Raises:
      ConfigError: a flag that is neither known nor ignored, or of another type.
    """
    for name in flags:
        if name not in known and name not in ignored:
            hint = did_you_mean(name, [*known, *ignored] if likely(name, [*known, *ignored]) else known)
            raise ConfigError(f"--flags has {name}, which the original does not know of such a model. {hint}")
    chosen = {name: _typed(name, value, type(known[name])) for name, value in flags.items() if name in known}
    return {**known, **chosen}


def require_positive(read: Mapping[str, Any], *names: str) -> None:
    """Raise `ConfigError` unless all of these flags are there and positive."""
    for name in names:
        require(read[name] > 0, f"--flags has {name}={read[name]}; it must be there and at least 1.")


def numbers(name: str, text: str) -> list[float]:
    """The numbers of a flag, separated by commas.

    Raises:
      ConfigError: it holds anything else.
    """
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise ConfigError(f"--flags has {name}={text}; it must be numbers with commas in between.") from None


def _command_line(text: str) -> dict[str, Any]:
    pairs = {}
    for piece in re.split(r"[,\s]+(?=--?[A-Za-z])", text):
        name, value, rest = re.fullmatch(r"-*(\w*)(?:[=\s]\s*(\S+))?\s*(.*)", piece, re.DOTALL).groups()  # pyright: ignore[reportOptionalMemberAccess]
        require(bool(name) and not rest, f"--flags has {rest or piece!r}, where --name value was expected.")
        pairs[name] = "true" if value is None else value
    return pairs


def _pairs(text: str, releases: Mapping[str, Any]) -> dict[str, Any]:
    # Commas also stand in values: attention_resolutions=32,16,8.
    pieces = re.split(r"[,\s]+(?=[A-Za-z_]\w*\s*=)|,\s*(?=[A-Za-z_]\w*\s*(?:,|$))", text.rstrip(", "))
    pairs = [piece.partition("=") for piece in pieces]
    if not all(re.fullmatch(r"\w+\s*", name) for name, _, _ in pairs):
        name = f", or a release's name such as {next(iter(releases))}" if releases else ""
        raise ConfigError(f"--flags is {text!r}; it must be key=value,key=value, JSON, a file of them{name}.")
    return {name.strip(): value.strip() if equals else "true" for name, equals, value in pairs}


def _typed(name: str, value: Any, kind: type) -> Any:
    """A flag's value, perhaps a string, as bool, int, float or string."""
    if value is None:
        return kind()
    text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value).strip()
    try:
        return _BOOLS[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError):
        raise ConfigError(f"--flags has {name}={value}; it must be of type {kind.__name__}.") from None
