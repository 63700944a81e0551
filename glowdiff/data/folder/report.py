"""What a user is told of refused files: on the terminal, in a file, and in the error when they are too many."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from glowdiff.data.progress import progress_console
from glowdiff.errors import ConfigError, printable

REPORT_FILE = "report.json"
_SHOWN = 20  # refused files on the terminal
_NAMED = 5  # refused files in an error


class Report:
    """The refused files of one folder, by name, with reasons, and what else the user should know."""

    def __init__(
        self, folder: str, files: int, refused: dict[str, str] | None = None, notes: Sequence[str] = ()
    ) -> None:
        """Report on `files` files of `folder`, of which `refused` have been refused so far."""
        self.folder = folder
        self.files = files
        self.refused = {} if refused is None else refused
        self.notes = list(notes)

    def write(self, path: Path) -> None:
        """Write the report to `path` as JSON."""
        refused = dict(sorted(self.refused.items()))
        content = {"folder": self.folder, "files": self.files, "refused": refused, "notes": self.notes}
        path.write_text(json.dumps(content, indent=2), encoding="utf-8")

    @staticmethod
    def read(path: Path) -> Report:
        """The report that `write` put into `path`."""
        content = json.loads(path.read_text(encoding="utf-8"))
        return Report(content["folder"], content["files"], content["refused"], content["notes"])

    def require_few(self, max_bad: float, path: Path) -> None:
        """Raise `ConfigError`, and leave the whole list at `path`, if a larger share than `max_bad` is refused."""
        count = len(self.refused)
        if count <= max_bad * self.files:
            return
        self.write(path)
        raise ConfigError(
            f"data.path is {self.folder}: {count} of its {self.files} files cannot be used, more than "
            f"data.max_bad={max_bad:g} allows.\n{self._first()}\nThey are listed in {path}. "
            "Remove or repair them, or raise data.max_bad to train on the rest."
        )

    def nothing_left(self, split: str) -> ConfigError:
        """The error for a `split` all of whose images are refused."""
        return ConfigError(
            f"data.path is {self.folder}, none of whose {split} images can be used.\n{self._first()}\n"
            "Repair them, or add others."
        )

    def _first(self) -> str:
        """The first refused files with reasons, a line each, and the notes."""
        lines = self._lines(_NAMED)
        more = len(self.refused) - len(lines)
        return "\n".join([*lines, *([f"  and {more} more"] if more else []), *map(printable, self.notes)])

    def _lines(self, most: int) -> list[str]:
        """The first refused files with reasons; a stranger's names may hold whatever steers a terminal."""
        return [printable(f"  {name}: {self.refused[name]}") for name in sorted(self.refused)[:most]]

    def show(self, path: Path) -> None:
        """Name the refused files on the terminal (on stderr), the first ones if they are many, after the notes."""
        console = progress_console()
        for note in self.notes:
            console.print(printable(f"{self.folder}: {note}"), markup=False, highlight=False, soft_wrap=True)
        if not self.refused:
            return
        title = printable(f"{len(self.refused)} of {self.files} files in {self.folder} are not used")
        if console.is_terminal:
            table = Table("file", "why", title=escape(title), title_justify="left")
            for name in sorted(self.refused)[:_SHOWN]:
                table.add_row(escape(printable(name)), escape(printable(self.refused[name])))
            console.print(table)
        else:
            lines = [f"{title}:", *self._lines(_SHOWN)]
            console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
        if len(self.refused) > _SHOWN:
            rest = printable(f"  and {len(self.refused) - _SHOWN} more, in {path}")
            console.print(rest, markup=False, highlight=False, soft_wrap=True)
