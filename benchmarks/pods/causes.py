"""Collectives of a compiled program, added up by what they are for."""

from __future__ import annotations

from typing import Any

from benchmarks.hlo import Collective
from benchmarks.pods.roofline import sent_bytes


def summarize(collectives: list[Collective], chips: int) -> list[dict[str, Any]]:
    """Collectives of one kind and one cause in a row, the largest first.

    Bytes are those of whole arrays on one of `chips` devices, each time and in all; `sent` is what leaves it. A loop
    whose length is not known counts once, and has no `times`.
    """
    groups: dict[tuple[str, str, int | None, int | None], list[Collective]] = {}
    for collective in collectives:
        key = (collective.kind, cause(collective), collective.times, collective.group)
        groups.setdefault(key, []).append(collective)
    rows = []
    for (kind, source, times, group), members in groups.items():
        size, devices = sum(member.bytes for member in members), group or chips
        rows.append(
            {
                "collective": kind,
                "of": source,
                "devices": devices,
                "number": len(members),
                "times": times,
                "bytes each time": size,
                "bytes": size * (times or 1),
                "sent": sent_bytes(kind, size * (times or 1), devices),
            }
        )
    return sorted(rows, key=lambda row: -row["bytes"])


def cause(collective: Collective) -> str:
    """What a collective is for, by the JAX operation that it stems from."""
    if all(shape.endswith("[]") for shape in collective.shapes):
        return "scalars"
    if collective.kind == "all-gather" and any("/rematted_computation/" in source for source in collective.sources):
        return "parameters, to recompute activations"
    parts = {_part(source) for source in collective.sources if "/transpose(" in source}
    if parts:
        what = "gradient" if all("transpose(" in source for source in collective.sources) else "loss and gradient"
        return f"{what} ({parts.pop() if len(parts) == 1 else 'the rest'})"
    if collective.kind == "all-gather" and any(s.endswith("/sharding_constraint") for s in collective.sources):
        return "parameters"
    return f"{collective.sources[0] if collective.sources else 'the compiler'}: {', '.join(collective.shapes)}"


def _part(source: str) -> str:
    """The module that a gradient is of: what follows the transposed function in the path, loops left out."""
    path = source.partition("/transpose(")[2].split("/")[1:]
    return next((name for name in path if name not in ("while", "body", "closed_call", "checkpoint")), "loss")
