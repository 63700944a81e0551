"""What a figure's runs say: CSV for programs, Markdown for people."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.studies.ablation.runs import Point


def write_csv(path: Path, rows: Sequence[Any]) -> None:
    """Write named tuples of one kind, a column per field."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(rows[0]._fields)
        writer.writerows([f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row] for row in rows)


def finals(points: Sequence[Point]) -> dict[str, list[float]]:
    """Test bits/dim at the last step of each seed, by variant, in the order of `points`."""
    last = max(point.step for point in points)
    result: dict[str, list[float]] = {}
    for point in points:
        if point.step == last:
            result.setdefault(point.variant, []).append(point.test_bits_per_dim)
    return result


def table(points: Sequence[Point], claims: Sequence[Sequence[str]]) -> str:
    """A row per variant, and below it whether each of the paper's orders (`claims`, best first) is found here."""
    parameters = {point.variant: point.parameters for point in points}
    seeds = sorted({point.seed for point in points})
    rows = [
        f"| | parameters | test bits/dim, mean of {len(seeds)} | "
        + " | ".join(f"seed {seed}" for seed in seeds)
        + " |",
        "|---|---|---|" + "---|" * len(seeds),
    ]
    means = {}
    for name, values in finals(points).items():
        means[name] = sum(values) / len(values)
        cells = " | ".join(f"{value:.3f}" for value in values)
        rows.append(f"| {name} | {parameters[name]:,} | **{means[name]:.3f}** | {cells} |")
    orders = [f"- {' < '.join(claim)}: {verdict(claim, means)}" for claim in claims]
    return "\n".join([*rows, "", "The paper's orders, in these means:", "", *orders] if orders else rows)


def verdict(claim: Sequence[str], means: Mapping[str, float]) -> str:
    """Whether `means` ascend along `claim`; if not, how they do.

    >>> verdict(("a", "b"), {"a": 1.0, "b": 2.0})
    'yes'
    >>> verdict(("a", "b", "c"), {"a": 1.0, "b": 3.0, "c": 2.5})
    'no, a < c < b'
    """
    if all(means[better] < means[worse] for better, worse in itertools.pairwise(claim)):
        return "yes"
    return f"no, {' < '.join(sorted(claim, key=lambda name: means[name]))}"
