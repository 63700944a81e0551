"""How fast the samplers' errors fall: `python benchmarks/samplers.py`.

Deterministic samplers on a mixture of two Gaussians, of which the denoiser and the ODE's solution are known exactly, in
float64, on the continuous cosine schedule, with levels evenly spread in t or in log(alpha / sigma): the largest error
of 41 paths by the number of evaluations of the denoiser. Euler's method is not shown, as it is DDIM. Paths end with the
prediction at the lowest level; those of PLMS, whose last step mixes older ones into it, at that level itself. Writes
`docs/images/sampler_orders.png` and `docs/data/sampler_orders.csv` (under --out), and prints the orders.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.exact import CLEANEST, NOISIEST, TWO, error, stopping
from benchmarks.main import run_main
from benchmarks.report import print_json, print_rows
from benchmarks.studies.ablation import plots
from benchmarks.studies.ablation.tables import write_csv
from glowdiff.samplers import SAMPLERS
from glowdiff.samplers.levels import Step, make_grid

_OUT = flags.DEFINE_string("out", "docs", "Folder of images/ and data/.")

NAMES = ("ddim", "heun", "plms", "dpmpp_2m", "unipc")
SPACINGS = {"even": "levels evenly spread in t", "log_snr": "levels evenly spread in log(alpha / sigma)"}
EVALUATIONS = (5, 7, 10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320)
FITTED = 80  # evaluations from which on the order is read off


class Point(NamedTuple):
    """A row of the file."""

    spacing: str
    sampler: str
    evaluations: int
    error: float


def main(argv: list[str]) -> None:
    """Measure, write, print."""
    del argv
    plots.check_available()
    out = Path(_OUT.value)
    with jax.enable_x64(True):
        points = [measure(spacing, name, count) for spacing in SPACINGS for name in NAMES for count in EVALUATIONS]
    write_csv(out / "data" / "sampler_orders.csv", points)
    panels = {title: lines(points, spacing) for spacing, title in SPACINGS.items()}
    plots.errors(out / "images" / "sampler_orders.png", "a mixture of two Gaussians, exact denoiser", panels)
    rows = [summary(points, spacing, name) for spacing in SPACINGS for name in NAMES]
    print_rows("Largest error by evaluations:", rows)
    ratios = {spacing: at(points, spacing, "dpmpp_2m", 20) / at(points, spacing, "ddim", 20) for spacing in SPACINGS}
    print(f"\nError of dpmpp_2m over that of ddim at 20 evaluations: {ratios}")
    print_json({"rows": rows, "dpmpp_2m_over_ddim_at_20": ratios})


def grid(spacing: str, steps: int) -> Step:
    """Levels alpha = cos(angle) of the cosine schedule."""
    angle = np.linspace(CLEANEST, NOISIEST, steps)
    if spacing == "log_snr":
        angle = np.arctan(np.geomspace(np.tan(CLEANEST), np.tan(NOISIEST), steps))
    return make_grid(angle / (np.pi / 2) * 1000, np.cos(angle) ** 2)


def measure(spacing: str, name: str, evaluations: int) -> Point:
    """The error with that many evaluations, or one less if the sampler needs an odd number."""
    steps = (evaluations + 1) // 2 if name == "heun" else evaluations
    levels = stopping(grid(spacing, steps)) if name == "plms" else grid(spacing, steps)
    turns = SAMPLERS[name].plan(levels, np.float64).level.t.shape[0]
    return Point(spacing, name, turns, error(SAMPLERS[name], TWO, levels))


def lines(points: list[Point], spacing: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Evaluations and errors by sampler."""
    found = {}
    for name in NAMES:
        chosen = [(p.evaluations, p.error) for p in points if (p.spacing, p.sampler) == (spacing, name)]
        xs, ys = np.array(chosen).T
        found[name] = xs, ys
    return found


def at(points: list[Point], spacing: str, name: str, evaluations: int) -> float:
    """The error at `evaluations`, or one less."""
    return next(
        p.error for p in points
        if (p.spacing, p.sampler) == (spacing, name) and evaluations - 1 <= p.evaluations <= evaluations
    )  # fmt: skip


def summary(points: list[Point], spacing: str, name: str) -> dict[str, Any]:
    """A row of the table."""
    xs, ys = lines(points, spacing)[name]
    late = xs >= FITTED - 1
    order = -np.polyfit(np.log(xs[late]), np.log(ys[late]), 1)[0]
    errors = {str(count): f"{at(points, spacing, name, count):.1e}" for count in (10, 20, 40, 80, 160)}
    return {"spacing": spacing, "sampler": name} | errors | {"order": round(float(order), 2)}


if __name__ == "__main__":
    run_main(main)
