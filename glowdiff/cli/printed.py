"""What `glowdiff evaluate --metrics` prints: figures with their conventions, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from glowdiff.cli.sweep import Sweep
from glowdiff.errors import printable
from glowdiff.metrics.measurement import Figure, Measurement
from glowdiff.metrics.reference import Reference


def print_head(measurement: Measurement, samples: str, compared: Reference | None) -> None:
    """The network, the samples in words, and the reference."""
    print(f"network    {measurement.network}, images prepared the way {measurement.look.prepare}")
    print(printable(f"samples    {samples}"))
    if compared is not None:
        print(printable(f"reference  {compared.about}"))


def print_figures(found: Sequence[Figure]) -> None:
    """A line for each figure, with its convention."""
    _print_rows([[each.name, f"{each.value:.6g}", each.convention] for each in found], "<><")


def print_sweep(swept: Sweep, found: Sequence[Sequence[Figure]]) -> None:
    """A line for each value of an option, a column for each figure; then what the columns are."""
    head = [swept.name, *(each.short for each in found[0])]
    rows = [[value, *(f"{each.value:.6g}" for each in row)] for value, row in zip(swept.values, found, strict=True)]
    _print_rows([head, *rows], "<" + ">" * len(found[0]))
    _print_rows([[each.short, each.name, each.convention] for each in found[0]], "<<<")


def print_json(about: Mapping[str, Any], found: Sequence[Figure]) -> None:
    """One line, at once: whoever reads along need not wait for the rest of a sweep."""
    print(json.dumps({**about, "figures": {each.name: each.value for each in found}}), flush=True)


def _print_rows(rows: Sequence[Sequence[str]], sides: str) -> None:
    """Lines of cells; `sides` says on which one (< or >) those of each column stand."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True))
        print(printable("  ".join(cells).rstrip()))
