"""The operations that a trace holds."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax

from glowdiff.profiling.program import CONTAINERS, Instruction, Program


class Kernel(NamedTuple):
    """One run of one operation: a kernel of a GPU, an instruction elsewhere."""

    name: str
    instruction: str  # of the compiled program, where the trace says which; else empty
    seconds: float
    start: float


def read_kernels(files: Iterable[Path], program: Program | None = None) -> Iterator[Kernel]:
    """What ran on GPUs or TPUs; where there are none, what a CPU's threads ran of compiled programs.

    Args:
      files: of a trace, `.xplane.pb`.
      program: leave out what the trace says to be of another one, and the loops around what runs in them.
    """
    planes = [plane for file in files for plane in jax.profiler.ProfileData.from_file(str(file)).planes]
    devices = [plane for plane in planes if re.match(r"/device:(GPU|TPU):", plane.name)]
    for plane in devices or planes:
        for line in plane.lines:
            if devices and not line.name.startswith(("Stream", "XLA Ops")):
                continue
            for event in line.events:
                stats = _stats(event)
                instruction = str(stats.get("hlo_op", ""))
                if not (devices or instruction):
                    continue
                name = event.name.partition(" = ")[0].removeprefix("%")  # TPUs give the instruction's whole text
                kernel = Kernel(name, instruction, event.duration_ns / 1e9, event.start_ns / 1e9)
                if program is None or _is_of(program, kernel, str(stats.get("hlo_module", ""))):
                    yield kernel


def instruction_of(kernel: Kernel, program: Program) -> Instruction:
    """A kernel's instruction, which in a CUDA graph is named after the graph; the kernel's name says it."""
    by_name = program.instructions.get(re.sub(r"_(\d+)$", r".\1", kernel.name))
    return by_name or program.instructions.get(kernel.instruction) or Instruction((), ())


def _is_of(program: Program, kernel: Kernel, module: str) -> bool:
    if module and not re.match(rf"{re.escape(program.name)}(\W|$)", module):
        return False
    return not set(instruction_of(kernel, program).opcodes[:1]) & set(CONTAINERS)


def _stats(event: Any) -> dict[str, Any]:
    with warnings.catch_warnings():  # of JAX's own types, which Python 3.12 finds wanting
        warnings.simplefilter("ignore", DeprecationWarning)
        return dict(event.stats)
