"""glowdiff and normflows train the same Glow on the digits, in one run: `python benchmarks/peers/glow_digits.py`.

Ours is configs/glow/digits.py as it stands; the peer has the same levels and depth, and hidden width 64, which gives it
a few more parameters. Both see the same batches in the same order and are scored on the 360 test images with the same
dequantisation noise. They train in turns, block by block, so that whatever else the machine does slows both. Needs
PyTorch and normflows (`pip install 'glowdiff[bench]'`; on a machine without a GPU, PyTorch's CPU build will do).
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.main import run_main
from benchmarks.report import print_json, print_rows
from configs.glow import digits
from glowdiff.catalog.parse import parse
from glowdiff.cli.main import initialize
from glowdiff.config.sections import Config
from glowdiff.data.batches import train_batches
from glowdiff.errors import ConfigError
from glowdiff.inference.drawer import Drawer
from glowdiff.sharding import put_batch
from glowdiff.training.experiment import Experiment, build, parameter_count

_STEPS = flags.DEFINE_integer("steps", 2_000, "Training steps of each.", lower_bound=2)
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds; both start anew for each.")
_THREADS = flags.DEFINE_integer(
    "torch_threads", None, "Threads of PyTorch; default: the faster of 1 and all cores.", lower_bound=1
)
_BLOCK = flags.DEFINE_integer("block", 50, "Steps that one trains before it is the other's turn.", lower_bound=1)

PEER = {"levels": 2, "depth": 8, "width": 64}
SAMPLES = 64
SAMPLING_ROUNDS = 20


class Ours:
    """glowdiff's training step and sampler, timed like the peer's."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._state = experiment.initial_state()
        self._drawer = Drawer(experiment.method, experiment.mesh)
        start = time.perf_counter()
        shapes = experiment.example_batch(experiment.config.train.batch)
        self._step = experiment.train_step().lower(self._state, shapes).compile()
        self.compile_seconds = time.perf_counter() - start

    @property
    def parameters(self) -> int:
        """Trained numbers in all."""
        return parameter_count(self._state)

    def step(self, batch: Any) -> float:
        """One optimiser step, averaging of weights included; seconds that it took."""
        start = time.perf_counter()
        self._state, metrics = self._step(self._state, put_batch(batch, self._experiment.mesh))
        float(metrics["loss"])
        return time.perf_counter() - start

    def bits_per_dim(self, images: np.ndarray, noise: np.ndarray, *, averaged: bool) -> float:
        """Mean over images with dequantisation noise in [0, 1), of the last or the averaged weights."""
        levels = self._experiment.dataset.spec.levels
        batch = {"image": images, "noise": noise / np.float32(levels), "cond": {}}
        variables = self._state.variables
        if averaged:
            variables = {**variables, "params": self._state.ema}
        score = self._experiment.method.bits_per_dim
        assert score is not None
        return float(np.asarray(jax.jit(score)(variables, jax.random.key(0), batch), np.float64).mean())

    def sample(self, n: int) -> np.ndarray:
        """Images uint8 [n, H, W, C]."""
        return self._drawer({**self._state.variables, "params": self._state.ema}, jax.random.key(0), n).images


def main(argv: list[str]) -> None:
    """Train both for every seed and print them side by side."""
    del argv
    if importlib.util.find_spec("normflows") is None:
        raise ConfigError("the peer is not installed: pip install 'glowdiff[bench]'.")
    initialize()
    settings = digits.get_config()
    settings.train.steps = _STEPS.value
    runs = []
    for seed in map(int, _SEEDS.value):
        settings.seed = seed
        runs.append(compare(parse(settings)))
    print_rows(
        f"Glow on the digits, {_STEPS.value} steps of {settings.train.batch}, by seed:",
        [_seed_row(run) for run in runs],
    )
    figures = {
        key: statistics.mean(run[key] for run in runs) for key in runs[0] if key not in ("seed", "torch_threads")
    }
    rows = [_row(measure, figures) for measure in MEASURES]
    print_rows(f"Mean of {len(runs)} seed(s), {os.cpu_count()} cores:", rows)
    within = figures["parameters, ours"] <= figures["parameters, peer"]
    print(f"\nOurs stays {'within' if within else 'NOT within'} the peer's parameters.")
    print_json({"steps": _STEPS.value, "runs": runs, "mean": figures, "within_parameters": within})


MEASURES = (
    "parameters",
    "test bits/dim, last weights",
    "test bits/dim, averaged weights",
    "ms per training step",
    f"ms to sample {SAMPLES}",
    "compile seconds, not in the above",
)
SHORT = {"bits/dim": MEASURES[1], "of the average": MEASURES[2], "ms/step": MEASURES[3]}


def compare(config: Config) -> dict[str, Any]:
    """Train both with one seed; every measure of both."""
    import torch  # pyright: ignore[reportMissingImports]

    from benchmarks.peers.normflows_glow import NormflowsGlow

    experiment = build(config)
    spec, dataset = experiment.dataset.spec, experiment.dataset
    ours = Ours(experiment)

    def new_peer() -> NormflowsGlow:
        decay = config.train.ema_decay
        return NormflowsGlow(spec.shape, spec.levels, **PEER, decay=decay, seed=config.seed)

    threads = _THREADS.value or _fastest_threads(new_peer, config.train.batch, spec.shape, torch.set_num_threads)
    torch.set_num_threads(threads)
    peer = new_peer()
    batches = train_batches(dataset, config.data, batch=config.train.batch, seed=config.seed)
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    for first in range(0, config.train.steps, _BLOCK.value):
        block = [next(batches) for _ in range(min(_BLOCK.value, config.train.steps - first))]
        seconds["ours"] += [ours.step(batch) for batch in block]
        seconds["peer"] += [peer.step(batch["image"]) for batch in block]
    batches.close()

    images = np.stack([dataset.test[i]["image"] for i in range(len(dataset.test))])
    noise = np.random.default_rng(0).random(images.shape, np.float32)
    sampling = _sampling_seconds(ours, peer)
    result: dict[str, Any] = {"seed": config.seed, "torch_threads": threads}
    for name, model in (("ours", ours), ("peer", peer)):
        figures = (
            model.parameters,
            model.bits_per_dim(images, noise, averaged=False),
            model.bits_per_dim(images, noise, averaged=True),
            1e3 * statistics.median(seconds[name]),
            1e3 * statistics.median(sampling[name]),
            ours.compile_seconds if name == "ours" else 0.0,
        )
        result |= {f"{measure}, {name}": figure for measure, figure in zip(MEASURES, figures, strict=True)}
    return result


def _fastest_threads(new_peer: Any, batch: int, shape: tuple[int, ...], set_threads: Any) -> int:
    """With how many threads the peer is fastest: on a busy machine, PyTorch's wait for each other."""
    images = np.zeros((batch, *shape), np.uint8)
    medians = {}
    for threads in {1, os.cpu_count() or 1}:
        set_threads(threads)
        model = new_peer()
        medians[threads] = statistics.median([model.step(images) for _ in range(12)][2:])
    return min(medians, key=lambda threads: medians[threads])


def _sampling_seconds(ours: Ours, peer: Any) -> dict[str, list[float]]:
    """Times of drawing a batch, in turns; the first ones, which compile or warm up, are left out."""
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    for model in (ours, peer):
        model.sample(SAMPLES)
    for _ in range(SAMPLING_ROUNDS):
        for name, model in (("ours", ours), ("peer", peer)):
            start = time.perf_counter()
            model.sample(SAMPLES)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def _seed_row(run: dict[str, Any]) -> dict[str, Any]:
    pairs = ((key, measure, name) for key, measure in SHORT.items() for name in ("ours", "peer"))
    figures = {f"{key}, {name}": _exact(run[f"{measure}, {name}"]) for key, measure, name in pairs}
    return {"seed": run["seed"], "torch threads": run["torch_threads"], **figures}


def _row(measure: str, figures: dict[str, float]) -> dict[str, Any]:
    ours, peer = figures[f"{measure}, ours"], figures[f"{measure}, peer"]
    ratio = f"{ours / peer:.3f}" if peer else "-"
    return {"": measure, "ours": _exact(ours), "normflows": _exact(peer), "ratio": ratio}


def _exact(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 1000 else f"{figure:.4g}"


if __name__ == "__main__":
    run_main(main)
