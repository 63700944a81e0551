"""A compiled program of which some runs are traced."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from etils import epath

from glowdiff.profiling.kernels import read_kernels
from glowdiff.profiling.program import read_program
from glowdiff.profiling.span import Span
from glowdiff.profiling.summary import lines, summary


class Profiler:
    """Traces the runs that a span names, writes the trace, and says what was heaviest in it.

    In a run of several processes the first one traces its own devices, and the others nothing.
    """

    def __init__(self, span: Span, folder: epath.PathLike, say: Callable[[str], None], unit: str = "step") -> None:
        """Of nothing yet.

        Args:
          span: which runs.
          folder: where the trace goes, as TensorBoard and xprof read it; local or `gs://`.
          say: is told the lines of the table.
          unit: what a run is called there.
        """
        self.span = span
        self._folder, self._say, self._unit = epath.Path(folder), say, unit
        self._program: Any = None
        self._done = 0
        self._traced: tempfile.TemporaryDirectory[str] | None = None

    def watch(self, program: Any, done: int = 0) -> Callable[..., Any]:
        """The same compiled program, watched; it has run `done` times already."""
        self._program, self._done = program, done
        return program if jax.process_index() else self._run

    def close(self) -> None:
        """End a trace that has not come to its end; what there is of it counts."""
        if self._traced is not None:
            self._stop(self._traced)

    def __enter__(self) -> Profiler:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _run(self, *arguments: Any) -> Any:
        if self._done == self.span.first:
            jax.block_until_ready(arguments)
            self._traced = tempfile.TemporaryDirectory()
            jax.profiler.start_trace(self._traced.name, profiler_options=options())
        results = self._program(*arguments)
        self._done += 1
        if self._done == self.span.first:
            jax.block_until_ready(results)  # lest it go on in the trace
        if self._done == self.span.last and self._traced is not None:
            jax.block_until_ready(results)
            self._stop(self._traced)
        return results

    def _stop(self, traced: tempfile.TemporaryDirectory[str]) -> None:
        self._traced = None
        jax.profiler.stop_trace()
        with traced as name:
            files = sorted(file for file in Path(name).rglob("*") if file.is_file())
            for file in files:
                target = self._folder / file.relative_to(name).as_posix()
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read_bytes())
            for line in self._table(files):
                self._say(line)
        self._say(f"The trace is in {self._folder}: xprof or tensorboard --logdir={self._folder} shows it.")

    def _table(self, files: Sequence[Path]) -> Sequence[str]:
        steps, program = self._done - self.span.first, read_program(self._program.as_text() or "")
        kernels = list(read_kernels([file for file in files if file.name.endswith(".xplane.pb")], program))
        if not (steps and kernels):
            return ["The profile holds no operation."]
        return list(lines(summary(kernels, steps, program), self._unit))


def options() -> jax.profiler.ProfileOptions:
    """Of a trace: without Python's calls, which would hold up small kernels, and are not looked at."""
    chosen = jax.profiler.ProfileOptions()
    chosen.python_tracer_level = 0
    return chosen
