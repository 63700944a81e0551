"""How benchmarks tell their results: tables that are Markdown as well, and one line of JSON at the end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from glowdiff.errors import ConfigError

_console = Console(highlight=False, width=None if Console().is_terminal else 200)


def print_rows(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """A table with a column per key of the first row; numbers are aligned to the right."""
    if not rows:
        return
    table = Table(box=box.MARKDOWN)
    for key, value in rows[0].items():
        table.add_column(key, justify="left" if isinstance(value, str) else "right", overflow="fold")
    for row in rows:
        table.add_row(*(text(value) for value in row.values()))
    _console.print(f"\n{title}\n", markup=False)
    _console.print(table)


def print_facts(title: str, facts: Mapping[str, Any]) -> None:
    """A table of two columns."""
    print_rows(title, [{"": key, "value": text(value)} for key, value in facts.items()])


def print_json(result: Mapping[str, Any]) -> None:
    """The same for programs: one line, the last."""
    print(json.dumps(result), flush=True)


def write_report(path: Path, tables: Mapping[str, Sequence[Mapping[str, Any]]], result: Mapping[str, Any]) -> None:
    """Tables by title, printed and written as Markdown to `path`.md; the result likewise as JSON to `path`.json."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = []
    for title, rows in tables.items():
        print_rows(title, rows)
        lines = [list(rows[0]), ["---"] * len(rows[0]), *([text(value) for value in row.values()] for row in rows)]
        parts.append("\n".join([title, "", *(f"| {' | '.join(cells)} |" for cells in lines)]))
    path.with_suffix(".md").write_text("\n\n".join(parts) + "\n")
    path.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    print_json(result)


def replace_section(path: Path, name: str, body: str) -> None:
    """Put `body` between `<!-- NAME -->` and `<!-- end -->` in a Markdown file.

    Where the file has no such section, it is added at the end.

    Raises:
      ConfigError: the section begins and does not end.
    """
    begin, end = f"<!-- {name} -->", "<!-- end -->"
    text = path.read_text() if path.exists() else ""
    section = f"{begin}\n{body.strip()}\n{end}"
    before, found, rest = text.partition(begin)
    if not found:
        path.write_text(f"{text.rstrip()}\n\n{section}\n".lstrip())
        return
    if end not in rest:
        raise ConfigError(f"{path} has {begin} without {end} after it; put it back.")
    path.write_text(before + section + rest.partition(end)[2])


def text(value: Any) -> str:
    """A number as people read it; None is what could not be measured."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def mebibytes(count: float | None) -> str:
    """Bytes in MiB."""
    return "-" if count is None else f"{count / 2**20:,.2f} MiB"
