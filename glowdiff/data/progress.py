"""How far a long pass over data has come, on a terminal as a bar and elsewhere as lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")
_EVERY = 10.0  # seconds between lines where there is no terminal


def counted(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """Yield `items`, of which there are `total`, showing how many are done."""
    console = progress_console()
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            yield from progress.track(items, total=total, description=what)
        return
    last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - last > _EVERY:
            last = time.monotonic()
            console.print(f"{what}: {done} of {total}", markup=False, highlight=False)


def progress_console() -> Console:
    """A console on stderr, so that output of scripts stays clean."""
    return Console(file=sys.stderr)
