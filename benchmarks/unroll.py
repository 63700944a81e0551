"""How far to unroll the scan over flow steps on the backend at hand: `python benchmarks/unroll.py`.

A Glow of the digits' size, by depth and unroll: seconds to compile its train step (caches off) and milliseconds to run
it. The outcome is `DEFAULT_UNROLL` in glowdiff/flows/build.py. With unroll 1, compile time must not grow with depth.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.main import run_main
from benchmarks.programs import make_experiment, train_program
from benchmarks.report import print_json, print_rows
from benchmarks.synthetic import synthetic
from configs.glow import digits
from glowdiff.catalog.parse import parse
from glowdiff.sharding import make_mesh, put_batch
from glowdiff.training.experiment import Experiment

_DEPTHS = flags.DEFINE_list("depths", ["4", "8", "32"], "Flow steps per level.")
_UNROLLS = flags.DEFINE_list("unrolls", ["1", "4", "8", "full"], "Steps per turn of the scan.")
_STEPS = flags.DEFINE_integer("steps", 20, "Training steps that are timed.", lower_bound=1)
_LIMIT = 1.5  # compile time at the largest depth, unroll 1, over that at the smallest


def main(argv: list[str]) -> None:
    """Compile and time every pair, print."""
    del argv
    jax.config.update("jax_enable_compilation_cache", False)
    measure(1, 1)  # the first compilation of a process is slower than others
    rows = []
    for depth in map(int, _DEPTHS.value):
        unrolls = sorted({min(depth if u == "full" else int(u), depth) for u in _UNROLLS.value})
        rows += [measure(depth, unroll) for unroll in unrolls]
        print(f"depth {depth} done", file=sys.stderr)
    print_rows(f"Train step of the digits' Glow on {jax.devices()[0].device_kind}:", rows)
    best = {depth: min((r for r in rows if r["depth"] == depth), key=lambda r: r["ms per step"])["unroll"]
            for depth in dict.fromkeys(r["depth"] for r in rows)}  # fmt: skip
    scanned = [row for row in rows if row["unroll"] == 1]
    clocks = ("compile seconds", "compile CPU seconds")
    growth = {clock: round(scanned[-1][clock] / scanned[0][clock], 3) for clock in clocks} if scanned else None
    print(f"\nFastest unroll by depth: {best}.")
    print(f"Compile time, unroll 1, at the largest depth over the smallest: {growth} (at most {_LIMIT} wanted).")
    print_json({"backend": jax.default_backend(), "rows": rows, "fastest": best, "compile_growth": growth})


def measure(depth: int, unroll: int) -> dict[str, Any]:
    """Compile seconds and time per step of one pair."""
    settings = digits.get_config()
    settings.model.update(depth=depth, unroll=unroll)
    config = parse(settings)
    experiment = make_experiment(config, synthetic(config), make_mesh(config.mesh))
    jax.clear_caches()  # nothing of another pair's may help
    start, busy = time.perf_counter(), time.process_time()
    step = train_program(experiment).lower().compile()
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    result = {
        "depth": depth,
        "unroll": unroll,
        "compile seconds": round(seconds, 2),
        "compile CPU seconds": round(busy, 2),  # steadier where others use the machine too
        "ms per step": round(1e3 * _median_step(experiment, step), 2),
    }
    gc.collect()
    return result


def _median_step(experiment: Experiment, step: Any) -> float:
    state = experiment.initial_state()
    images = experiment.dataset.train
    first = [images[i] for i in range(experiment.config.train.batch)]
    batch = put_batch(jax.tree.map(lambda *rows: np.stack(rows), *first), experiment.mesh)
    seconds = []
    for _ in range(_STEPS.value + 2):
        start = time.perf_counter()
        state, metrics = step(state, batch)
        jax.block_until_ready(metrics)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[2:])


if __name__ == "__main__":
    run_main(main)
