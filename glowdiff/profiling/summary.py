"""The figures of a profile: the heaviest operations, and how much of all is matrix work."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from glowdiff.profiling.kernels import Kernel, instruction_of
from glowdiff.profiling.kinds import MATRIX, kind
from glowdiff.profiling.program import Program

HEAVIEST = 15


def summary(kernels: Sequence[Kernel], steps: int, program: Program) -> dict[str, Any]:
    """The figures of a trace of so many steps, in milliseconds of one step.

    Raises:
      ValueError: there is no kernel in it.
    """
    if not kernels:
        raise ValueError("the trace holds no kernels")
    total = sum(kernel.seconds for kernel in kernels)
    span = max(each.start + each.seconds for each in kernels) - min(each.start for each in kernels)
    kinds: dict[str, float] = collections.defaultdict(float)
    groups: dict[tuple[str, str], list[Kernel]] = collections.defaultdict(list)
    for kernel in kernels:
        label = kind(kernel.name, instruction_of(kernel, program).opcodes)
        kinds[label] += kernel.seconds
        groups[label, kernel.name[:80]].append(kernel)
    heaviest = sorted(groups.items(), key=lambda item: -sum(each.seconds for each in item[1]))[:HEAVIEST]
    rows = []
    for (label, name), runs in heaviest:
        seconds = sum(each.seconds for each in runs)
        sources = collections.Counter(next(iter(instruction_of(each, program).paths), "") for each in runs)
        rows.append({
            "kernel": name,
            "kind": label,
            "runs": round(len(runs) / steps, 1),
            "ms": round(1e3 * seconds / steps, 4),
            "share": round(seconds / total, 4),
            "from": sources.most_common(1)[0][0][-100:],
        })  # fmt: skip
    return {
        "steps": steps,
        "kernels_ms": round(1e3 * total / steps, 4),
        "span_ms": round(1e3 * span / steps, 4),
        "runs": round(len(kernels) / steps, 1),
        "matrix_share": round(sum(kinds[label] for label in MATRIX) / total, 4),
        "kinds": shares(kinds, total),
        "heaviest": rows,
    }


def shares(seconds: Mapping[str, float], total: float) -> dict[str, float]:
    """Seconds by label as shares of all, the largest first."""
    return {label: round(each / total, 4) for label, each in sorted(seconds.items(), key=lambda item: -item[1])}


def lines(figures: Mapping[str, Any], unit: str) -> Iterator[str]:
    """A summary as a table for a terminal; `unit` is what a step is called."""
    count = figures["steps"]
    yield (
        f"Profile of {count} {unit if count == 1 else _plural(unit)}: {figures['kernels_ms']:,.3g} ms of operations a "
        f"{unit}; {figures['matrix_share']:.1%} of it is matrix work (convolutions, products, attention)."
    )
    yield f"{'share':>6} {'ms':>9} {'runs':>6}  {'kind':21}  {'operation':32}  from"
    for row in figures["heaviest"]:
        numbers = f"{row['share']:6.1%} {row['ms']:9.3f} {row['runs']:6,.0f}"
        yield f"{numbers}  {row['kind']:21}  {row['kernel'][:32]:32}  {row['from'][-48:]}".rstrip()


def _plural(unit: str) -> str:
    return f"{unit}es" if unit.endswith("ch") else f"{unit}s"
