"""Training every variant with every seed, and reading what the runs logged."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from benchmarks.studies.ablation.variants import Variant, count
from glowdiff.catalog.parse import differences, parse
from glowdiff.config.sections import Config
from glowdiff.errors import require
from glowdiff.training.loop import train
from glowdiff.workdir import description as workdirs


class Point(NamedTuple):
    """One evaluation of one run: a line of the figure's CSV."""

    variant: str
    seed: int
    parameters: int
    step: int
    test_bits_per_dim: float


def seeded(variant: Variant, seed: int) -> Config:
    """The checked configuration of one run."""
    config = copy.deepcopy(variant.config)
    config.seed = seed
    return parse(config)


def folder(config: Config) -> str:
    """A name for a run that says what sets it apart, so that figures share the runs they have in common."""
    model: Any = config.model
    parts = [config.method, f"{config.data.name}{config.data.size or ''}".replace("/", "_")]
    parts += [getattr(model, key) for key in ("permutation", "coupling") if hasattr(model, key)]
    parts += [
        f"{letter}{getattr(model, key)}"
        for letter, key in (("L", "levels"), ("K", "depth"), ("W", "width"))
        if hasattr(model, key)
    ]
    return "-".join([*parts, f"B{config.train.batch}", f"N{config.train.steps}", f"seed{config.seed}"])


def run_all(variants: Sequence[Variant], seeds: Sequence[int], out: Path) -> list[Point]:
    """Train what is not trained yet and return every evaluation of every run, variant by variant.

    All variants come with the first seed, then with the next, so that an interrupted figure can be judged. The seeds of
    a variant run the same program, which only the first has to compile: `glowdiff.cli.main.initialize` keeps it.

    Raises:
      ConfigError: a variant is impossible, or a run that is there was made otherwise; nothing has been trained.
      SystemExit: a run was stopped by SIGTERM; the same command goes on from there.
    """
    parameters = {variant.name: count(seeded(variant, 0)) for variant in variants}
    runs = [(variant, seed) for seed in seeds for variant in variants]
    for variant, seed in runs:
        config = seeded(variant, seed)
        check_rerun(out / folder(config), config)
    bits: dict[tuple[str, int], dict[int, float]] = {}
    for number, (variant, seed) in enumerate(runs, 1):
        config = seeded(variant, seed)
        workdir = out / folder(config)
        if config.train.steps not in evaluations(workdir):
            print(f"[{number}/{len(runs)}] {variant.name}, seed {seed}: {workdir}", flush=True)
            train(config, workdir)
            jax.clear_caches()  # programs of a finished run
        bits[variant.name, seed] = evaluations(workdir)
        if config.train.steps not in bits[variant.name, seed]:
            sys.exit("Stopped; the same command goes on from there.")
    return [
        Point(variant.name, seed, parameters[variant.name], step, value)
        for variant in variants
        for seed in seeds
        for step, value in bits[variant.name, seed].items()
    ]


def check_rerun(workdir: Path, config: Config) -> None:
    """Raise `ConfigError`, naming the keys, if `workdir` holds a run of another configuration than `config`.

    Its name tells only some of the keys; others change with the code. What alters no step may differ.
    """
    if not (workdir / "config.json").exists():
        return
    changes = differences(workdirs.read(workdir).config, config)
    changed = {key: values for key, values in sorted(changes.items()) if not key.startswith(workdirs.FREE)}
    listed = "; ".join(f"{key} was {before!r}, now {after!r}" for key, (before, after) in changed.items())
    require(
        not changed,
        f"{workdir} holds a run with another configuration: {listed}. Move that folder away to train it anew, or give "
        "another --out.",
    )


def evaluations(workdir: Path) -> dict[int, float]:
    """Test bits/dim by step, of a run's `metrics.jsonl`; nothing if there is none."""
    path = workdir / "metrics.jsonl"
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {
        line["step"]: float("nan") if line["test_bits_per_dim"] is None else line["test_bits_per_dim"]
        for line in lines
        if "test_bits_per_dim" in line
    }
