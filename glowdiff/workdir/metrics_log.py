"""`metrics.jsonl`: one object per logged step, no step twice and none missing however often a run was interrupted."""

from __future__ import annotations

import json
import math
from typing import Any

from etils import epath

from glowdiff.files import is_address, write_whole


class MetricsLog:
    """Appends to WORKDIR/metrics.jsonl."""

    def __init__(self, workdir: epath.PathLike, start: int) -> None:
        """Open the log of a run that goes on after step `start`: later lines, of steps taken again, are dropped."""
        self._path = epath.Path(workdir) / "metrics.jsonl"
        self._lines: list[str] = []
        if self._path.exists():
            self._lines = [line for line in self._path.read_text().splitlines() if _step(line) <= start]
        self._rewrite()

    def write(self, step: int, metrics: dict[str, Any]) -> None:
        """Write the line of a step at once; numbers that are not finite become null, which JSON can hold."""
        finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        line = json.dumps({"step": step, **finite})
        self._lines.append(line)
        if is_address(self._path):
            self._rewrite()
            return
        with self._path.open("a") as file:
            file.write(line + "\n")

    def _rewrite(self) -> None:
        write_whole(self._path, "".join(f"{line}\n" for line in self._lines))


def _step(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return float("inf")  # cut off by a kill: its step is taken again
