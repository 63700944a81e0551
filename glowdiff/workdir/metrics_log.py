"""`metrics.jsonl`: one object per logged step, no step twice and none missing however often a run was interrupted."""

from __future__ import annotations

import json
import math
from typing import Any

from absl import logging
from etils import epath

from glowdiff.files import is_address, write_whole

FILE = "metrics.jsonl"  # in a workdir
DAMAGED = "metrics-damaged.txt"  # what stood there and is no line of it


class MetricsLog:
    """Appends to WORKDIR/metrics.jsonl.

    Attributes:
      dropped: how many lines were, of steps that are taken again.
    """

    def __init__(self, workdir: epath.PathLike, start: int) -> None:
        """Open the log of a run that goes on after step `start`: later lines, of steps taken again, are dropped.

        Lines that are no objects with a step are set aside, with a warning.
        """
        self._path = epath.Path(workdir) / FILE
        self._lines: list[str] = []
        self.dropped = 0
        if self._path.exists():
            self._read(self._path.read_bytes(), start)
        self._rewrite()

    def write(self, step: int, metrics: dict[str, Any]) -> None:
        """Write the line of a step at once; numbers that are not finite become null, which JSON can hold."""
        finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        line = json.dumps({"step": step, **finite})
        self._lines.append(line)
        if is_address(self._path):
            self._rewrite()
            return
        if not self._path.exists():
            logging.warning("%s has been removed; it is written again, whole.", self._path)
            self._rewrite()
            return
        with self._path.open("a") as file:
            file.write(line + "\n")

    def _read(self, content: bytes, start: int) -> None:
        *whole, rest = content.split(b"\n")
        if _step(rest) is not None:  # else it was cut off by a kill, and its step is taken again
            whole.append(rest)
        rows = [(line, _step(line)) for line in whole if line]
        self._lines = [line.decode() for line, step in rows if step is not None and step <= start]
        self.dropped = sum(step is not None and step > start for _, step in rows)
        damaged = [line for line, step in rows if step is None]
        if damaged:
            aside = self._path.parent / DAMAGED
            earlier = aside.read_bytes() if aside.exists() else b""
            write_whole(aside, earlier + b"\n".join([*damaged, b""]))
            logging.warning(
                "%d lines of %s are no metrics of a step; they are now in %s.", len(damaged), self._path, aside
            )

    def _rewrite(self) -> None:
        write_whole(self._path, "".join(f"{line}\n" for line in self._lines))


def _step(line: bytes) -> int | None:
    """The step of a line; None if it has none."""
    try:
        content = json.loads(line.decode())
        step = content["step"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return step if type(step) is int and step >= 0 else None
