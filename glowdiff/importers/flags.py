"""The flags of originals as people have them: a release's name, a command line, key=value, JSON, files of these."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from glowdiff.errors import ConfigError, did_you_mean, likely, require
from glowdiff.files import TEXT_LIMIT, check_ordinary

_TRUE, _FALSE = ("yes", "true", "t", "y", "1"), ("no", "false", "f", "n", "0")
_BOOLS = {word: word in _TRUE for word in (*_TRUE, *_FALSE)}


def read(text: str, releases: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The dictionary of flags in `--flags`, where a name alone is true and some `releases` may be named.

    Of a file with several lines of JSON, such as the `train.txt` that Glow's original logs, the first one counts.

    >>> read("--attention_resolutions 32,16 --class_cond True", {})
    {'attention_resolutions': '32,16', 'class_cond': 'True'}
    >>> read("attention_resolutions=32,16,class_cond=True,learntop", {})
    {'attention_resolutions': '32,16', 'class_cond': 'True', 'learntop': 'true'}
    """
    text = text.strip()
    if not text.startswith(("{", "-")) and "=" not in text:
        path = Path(text).expanduser()
        if not path.is_file():
            return release(text, releases, "--flags")
        check_ordinary(path, TEXT_LIMIT)
        text = path.read_text(errors="replace").strip().partition("\n{")[0]
    if text.startswith("{"):
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(f"--flags is not JSON ({error}).") from error
    return _pairs(text, releases)


def release(name: str, releases: Mapping[str, Mapping[str, Any]], key: str) -> dict[str, Any]:
    """The flags of a release, which `key` names; `.pt` at the end of its name does not matter."""
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

    Numbers and booleans may be strings. A flag that is neither known nor ignored, or of another type, is refused.
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
    """The numbers of a flag, separated by commas."""
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise ConfigError(f"--flags has {name}={text}; it must be numbers with commas in between.") from None


def _pairs(text: str, releases: Mapping[str, Any]) -> dict[str, str]:
    pairs = {}
    # Commas also stand in values: attention_resolutions=32,16,8.
    for piece in re.split(r"[,\s]+(?=--?[A-Za-z]|[A-Za-z_]\w*\s*=)|,\s*(?=[A-Za-z_]\w*\s*(?:,|$))", text.rstrip(", ")):
        match = re.fullmatch(r"-*(\w+)\s*(?:[=\s]\s*(.*))?", piece, re.DOTALL)
        if match is None:
            name = f", or a release's name such as {next(iter(releases))}" if releases else ""
            raise ConfigError(f"--flags is {text!r}; it must be key=value,key=value, JSON, a file of them{name}.")
        value = "true" if match[2] is None else match[2].strip()
        if piece.startswith("-"):
            value, *rest = value.split() or [""]
            require(not rest, f"--flags has {' '.join(rest)!r}, where --name value was expected.")
        pairs[match[1]] = value
    return pairs


def _typed(name: str, value: Any, kind: type) -> Any:
    """A flag's value, perhaps a string, as bool, int, float or string."""
    if value is None:
        return kind()
    text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value).strip()
    try:
        return _BOOLS[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError):
        raise ConfigError(f"--flags has {name}={value}; it must be of type {kind.__name__}.") from None
