"""Bounds in bits/dim of learned and fixed variances over few and many steps, on the test digits.

`python benchmarks/studies/digits_bound.py --learned=runs/iddpm_digits --fixed=runs/iddpm_fixed`: a run of
configs/iddpm/digits.py, and one with `--config.model.process.variance=fixed_large --config.model.loss=simple`, whose
network serves both fixed variances.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import glowdiff
from benchmarks.main import run_main
from benchmarks.report import print_json, print_rows
from glowdiff.catalog.methods import build_method
from glowdiff.cli.main import initialize
from glowdiff.config.options import as_float32, changed
from glowdiff.data.batches import eval_batches
from glowdiff.data.dataset import load
from glowdiff.metrics.bits_per_dim import make_evaluator

_LEARNED = flags.DEFINE_string("learned", None, "A run with learned variances.", required=True)
_FIXED = flags.DEFINE_string("fixed", None, "A run with fixed ones.", required=True)
_STEPS = flags.DEFINE_list("steps", ["10", "25", "50", "100", "250", "1000"], "Steps of the bounds.")


def main(argv: list[str]) -> None:
    """Evaluate all test digits, and print."""
    del argv
    initialize()
    learned, fixed = glowdiff.load(_LEARNED.value), glowdiff.load(_FIXED.value)
    rows: list[dict[str, Any]] = []
    for steps in _STEPS.value:
        row: dict[str, Any] = {"steps": steps, "learned": bits(learned, "learned", steps)}
        row |= {kind: bits(fixed, kind, steps) for kind in ("fixed_small", "fixed_large")}
        rows.append(row)
    print_rows(f"Bounds in bits/dim, {learned.spec.test_size} test digits", rows)
    print_json({"bits_per_dim": rows})


def bits(model: glowdiff.Model, variance: str, steps: str) -> float:
    """The bound of a model with one of the variances that its network allows."""
    process = dataclasses.replace(model.config.model.process, variance=variance)
    config = dataclasses.replace(model.config, model=dataclasses.replace(model.config.model, process=process))
    method = build_method(config, model.spec)
    evaluate = make_evaluator(
        method, model.mesh, options=as_float32(changed(config.sampling, config.model.options, {"steps": steps}))
    )
    return evaluate(model.variables, eval_batches(load(config.data), batch=120))


if __name__ == "__main__":
    run_main(main)
