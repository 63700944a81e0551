"""Where a train step's time goes: a trace of a few steps, its kernels added up."""

from __future__ import annotations

import collections
import gzip
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from benchmarks.chip.plan import Job
from benchmarks.chip.setting import Setting
from benchmarks.chip.training import TrainStep
from glowdiff.profiling.kernels import Kernel, instruction_of, read_kernels
from glowdiff.profiling.kinds import MATRIX, kind
from glowdiff.profiling.profiler import options
from glowdiff.profiling.program import Program, read_program
from glowdiff.profiling.summary import shares, summary

# Parts of a train step, by the path of an instruction.
_PARTS = (
    ("dropout", r"Dropout"),
    ("norms and SiLU", r"norm|silu"),
    ("concatenated skips", r"/concatenate"),
    ("beside convolutions", r"conv"),
    ("beside attention", r"attention"),
)


class Profile:
    """A trace of a train step that another measurement has compiled."""

    def __init__(self, of: Mapping[str, TrainStep], setting: Setting, keep: Path | None) -> None:
        """Of the first of these, by measurement, that has run; `keep` is a folder for its program and the trace."""
        self._of, self._setting, self._keep = of, setting, keep
        self._steps = 1 if setting.toy else 5

    def prepare(self) -> Sequence[Job]:
        """There is nothing to compile."""
        return []

    def measure(self, compiled: list[Any]) -> dict[str, Any]:
        """The heaviest kernels, the shares of kinds of work, and how long the device did nothing."""
        del compiled
        name = next((name for name in self._of if name in self._setting.compiled), None)
        if name is None:
            raise RuntimeError("none of the train steps ran")
        compiled_step = self._setting.compiled[name]
        stepper = self._of[name].start(compiled_step)
        jax.block_until_ready([stepper.step() for _ in range(2)])
        text = compiled_step.as_text() or ""
        program = read_program(text)
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder, profiler_options=options()):
                jax.block_until_ready([stepper.step() for _ in range(self._steps)][-1])
            files = sorted(Path(folder).rglob("*.xplane.pb"))
            kernels = list(read_kernels(files, program))
            if self._keep is not None:
                self._keep.mkdir(parents=True, exist_ok=True)
                for file, content in (("hlo.txt", text.encode()), ("xplane.pb", files[-1].read_bytes())):
                    (self._keep / f"{name}.{file}.gz").write_bytes(gzip.compress(content))
        return {"of": name} | summary(kernels, self._steps, program) | {"parts": parts(kernels, program)}


def parts(kernels: Sequence[Kernel], program: Program) -> dict[str, float]:
    """Shares of the time of parts of a train step, of what is no matrix work."""
    seconds: dict[str, float] = collections.defaultdict(float)
    for kernel in kernels:
        instruction = instruction_of(kernel, program)
        if kind(kernel.name, instruction.opcodes) not in MATRIX:
            seconds[part(instruction.paths)] += kernel.seconds
    return shares(seconds, sum(kernel.seconds for kernel in kernels))


def part(paths: Sequence[str]) -> str:
    """Which part of a train step instructions of such paths belong to: what most of them name."""
    if not paths:
        return "of no named part"
    if not all("jvp" in path for path in paths):  # the loss is differentiated, what follows is not
        return "optimiser, averages, layouts of gradients"
    labels = collections.Counter(
        next((label for label, pattern in _PARTS if re.search(pattern, path)), "") for path in paths
    )
    del labels[""]
    return labels.most_common(1)[0][0] if labels else "the rest of the network"
