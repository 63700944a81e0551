"""The rows of a metadata file in a user's folder: `metadata.csv` or `metadata.jsonl`."""

from __future__ import annotations

import csv
import io
import json
import posixpath
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from glowdiff.data.folder.files import composed
from glowdiff.errors import ConfigError, require
from glowdiff.files import read_text

_NAME, _TEXTS = "file_name", ("text", "caption")
_NAMED = 8  # columns in a message
_MOST = 100  # characters of a stranger's value in a message
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _MOST


class Row(NamedTuple):
    """One image as the metadata have it."""

    file_name: str  # relative to the whole folder, with slashes
    text: str  # empty: none


def read_metadata(folder: Path, name: str) -> list[Row]:
    """The rows of the metadata file `name` in `folder`.

    Raises:
      ConfigError: it is no file, too large, not UTF-8 or no CSV (or no JSON object in each line), has no rows, lacks
        `file_name` or both `text` and `caption`, or names a file twice.
    """
    start = f"data.path is {folder}, whose {name}"
    try:
        content = read_text(folder / name)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{start} is not UTF-8 text; save it as UTF-8.") from error
    except OSError as error:
        raise ConfigError(f"{start} cannot be read ({error.strerror or type(error).__name__}).") from error
    lines = list(_csv_lines(content, start) if name.endswith(".csv") else _json_lines(content, start))
    require(bool(lines), f"{start} has no rows; it needs one for each image, with file_name and text.")
    columns = list(dict.fromkeys(key for _, fields in lines for key in fields))
    text = next((key for key in _TEXTS if key in columns), None)
    if _NAME not in columns or text is None:
        kind = "columns" if name.endswith(".csv") else "keys"
        raise ConfigError(
            f"{start} has the {kind} {_listed(columns)}; for captions it needs file_name and text (or caption). "
            "If it is about something else, give it another name."
        )
    rows: list[Row] = []
    lines_by_file: dict[str, int] = {}
    for line, fields in lines:
        file_name, words = _string(fields, _NAME, line, start), _string(fields, text, line, start)
        require(bool(file_name), f"{start} has no file_name in line {line}.")
        file_name = posixpath.normpath(posixpath.join(posixpath.dirname(name), file_name))
        first = lines_by_file.setdefault(composed(file_name), line)
        require(
            first == line,
            f"{start} names {shown(file_name)} twice, in lines {first} and {line}; an image has one caption.",
        )
        rows.append(Row(file_name, words))
    return rows


def _csv_lines(content: str, start: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number of each line (of a row of several: its last) and its fields."""
    reader = csv.DictReader(io.StringIO(content, newline=""), skipinitialspace=True, strict=True)
    try:
        for fields in reader:
            require(
                None not in fields,
                f"{start} has more fields in line {reader.line_num} than columns; a caption that holds a comma must "
                'be in quotes: "a dog, running".',
            )
            yield reader.line_num, {str(key).strip(): value for key, value in fields.items()}
    except csv.Error as error:
        raise ConfigError(f"{start} cannot be read as CSV after line {reader.line_num}: {error}.") from error


def _json_lines(content: str, start: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number of each line that is not empty, and its object."""
    for line, text in enumerate(content.split("\n"), start=1):
        if not text.strip():
            continue
        try:
            fields = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error).partition(";")[0]
            raise ConfigError(f"{start} has no JSON object in line {line} ({why}).") from error
        require(isinstance(fields, dict), f"{start} has no JSON object in line {line}.")
        yield line, fields


def _refuse(constant: str) -> None:
    """Raise `ValueError` for what Python would read, but JSON has not: NaN and infinities."""
    raise ValueError(f"{constant} is no JSON")


def shown(value: object) -> str:
    """A value in a message, in quotes and not at any length."""
    return _SHORT.repr(value)


def _listed(columns: list[str]) -> str:
    names = [name if len(name) <= _MOST else f"{name[:_MOST]}..." for name in columns[:_NAMED]]
    return ", ".join([*names, *(["..."] if len(columns) > _NAMED else [])])


def _string(fields: dict[str, Any], key: str, line: int, start: str) -> str:
    value = fields.get(key)
    fine = value is None or isinstance(value, str)
    require(fine, f"{start} has {key} {shown(value)} in line {line}; it must be a string.")
    return value or ""
