"""What training holds in memory as depth grows: `python benchmarks/memory.py`.

For every depth and every `model.memory` (plain, remat, reversible): bytes of the compiled train step, milliseconds per
step at equal unroll, and how far its gradient is from that of the plain mode in float64, on weights that have been
trained for a while (zero-initialised couplings would make that too easy). Temporaries hold the gradients, which grow
with the number of parameters whatever one does; so they stand beside the temporaries less the gradients.
"""

from __future__ import annotations

import gc
import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags, logging

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.main import run_main
from benchmarks.programs import make_experiment, train_program
from benchmarks.report import print_json, print_rows
from glowdiff.catalog.methods import build_method
from glowdiff.catalog.parse import defaults, parse
from glowdiff.config.sections import Config
from glowdiff.data import dataset as datasets
from glowdiff.data.batches import train_batches
from glowdiff.data.dataset import Dataset
from glowdiff.flows.chain import MEMORY
from glowdiff.sharding import make_mesh, put_batch
from glowdiff.training.experiment import parameter_count
from glowdiff.training.state import TrainState

_METHOD = flags.DEFINE_enum("method", "glow", ["glow", "realnvp"], "Whose steps.")
_DEPTHS = flags.DEFINE_list("depths", ["4", "8", "16", "32", "64"], "Steps per level, or couplings per group.")
_LEVELS = flags.DEFINE_integer("levels", 1, "Levels.", lower_bound=1)
_WIDTH = flags.DEFINE_integer("width", 32, "Width of the coupling nets.", lower_bound=1)
_SIZE = flags.DEFINE_integer("size", 32, "Side of the photos: 16, 32 or 64.")
_BATCH = flags.DEFINE_integer("batch", 64, "Images per step that is measured.", lower_bound=1)
_TRAIN_BATCH = flags.DEFINE_integer("train_batch", 8, "Images per step of the training before.", lower_bound=1)
_UNROLL = flags.DEFINE_integer("unroll", 1, "Steps per turn of the scan, the same in all modes.", lower_bound=1)
_TRAIN = flags.DEFINE_integer("train_steps", 100, "Steps of training before gradients are compared.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Steps that are timed, the modes in turns.", lower_bound=1)
MIB = 2**20


def main(argv: list[str]) -> None:
    """Train each depth in the plain mode; compile, time and compare all modes; print."""
    del argv
    logging.set_verbosity(logging.WARNING)
    rows = []
    for depth in map(int, _DEPTHS.value):
        rows += measure(depth)
        print(f"depth {depth} done", file=sys.stderr)
        gc.collect()
    print_rows(
        f"Train step of {_METHOD.value}, photos {_SIZE.value}x{_SIZE.value}x3, batch {_BATCH.value}, "
        f"{_LEVELS.value} levels, width {_WIDTH.value}, unroll {_UNROLL.value}, float32, "
        f"{jax.devices()[0].device_kind}; memory in MiB:",
        rows,
    )
    growth = {}
    for mode in MEMORY:
        own = [row["less gradients"] for row in rows if row["memory"] == mode]
        growth[mode] = round(own[-1] / own[0], 3)
    print(f"\nTemporaries less gradients, largest depth over smallest: {growth}.")
    print_json({"backend": jax.default_backend(), "rows": rows, "growth": growth})


def configuration(depth: int, memory: str, dtype: str = "float32", batch: int | None = None) -> Config:
    """The model that is measured."""
    settings = defaults(_METHOD.value)
    settings.data.update(name="photos", size=_SIZE.value)
    settings.model.update(levels=_LEVELS.value, depth=depth, width=_WIDTH.value, memory=memory, unroll=_UNROLL.value)
    settings.model.init_images = 64
    if _METHOD.value == "realnvp":
        settings.model.blocks = 1
    settings.train.batch = batch or _BATCH.value
    settings.optimizer.update(learning_rate=1e-3, warmup_steps=20)
    settings.dtype = dtype
    return parse(settings)


def measure(depth: int) -> list[dict[str, Any]]:
    """One row per mode."""
    dataset = datasets.load(configuration(depth, "plain").data)
    experiments, steps, states = {}, {}, {}
    for mode in MEMORY:
        config = configuration(depth, mode)
        experiments[mode] = make_experiment(config, dataset, make_mesh(config.mesh))
        steps[mode] = train_program(experiments[mode]).lower().compile()
    state, bits, small = trained_state(depth, dataset)
    trained = jax.tree.map(np.asarray, state.variables)
    exact = gradient(configuration(depth, "plain", "float64"), dataset, trained, small)
    mesh = experiments["plain"].mesh
    batch = put_batch(first_batch(dataset, experiments["plain"].config), mesh)

    milliseconds: dict[str, list[float]] = {mode: [] for mode in MEMORY}
    for mode in MEMORY:
        states[mode] = jax.tree.map(jnp.copy, state)
    for _ in range(_ROUNDS.value + 2):  # in turns, so that the machine's noise meets all modes
        for mode in MEMORY:
            start = time.perf_counter()
            states[mode], seen = steps[mode](states[mode], batch)
            jax.block_until_ready(seen)
            milliseconds[mode].append(1e3 * (time.perf_counter() - start))
    medians = {mode: statistics.median(times[2:]) for mode, times in milliseconds.items()}

    gradient_bytes = 4 * parameter_count(state)
    rows = []
    for mode in MEMORY:
        memory = steps[mode].memory_analysis()
        found = gradient(configuration(depth, mode), dataset, trained, small)
        rows.append(
            {
                "K": depth,
                "memory": mode,
                "temporaries": round(memory.temp_size_in_bytes / MIB, 2),
                "gradients": round(gradient_bytes / MIB, 2),
                "less gradients": round((memory.temp_size_in_bytes - gradient_bytes) / MIB, 2),
                "arguments": round(memory.argument_size_in_bytes / MIB, 2),
                "outputs": round(memory.output_size_in_bytes / MIB, 2),
                "ms per step": round(medians[mode], 1),
                "over plain": round(medians[mode] / medians["plain"], 2),
                "gradient error": relative_error(found, exact),
                "bits/dim": round(bits, 3),
            }
        )
    return rows


def trained_state(depth: int, dataset: Dataset) -> tuple[TrainState, float, Any]:
    """The state after a short training in the plain mode, its last bits/dim, and a batch for gradients."""
    config = configuration(depth, "plain", batch=_TRAIN_BATCH.value)
    experiment = make_experiment(config, dataset, make_mesh(config.mesh))
    batches = train_batches(dataset, config.data, batch=_TRAIN_BATCH.value, seed=0)
    state, step, bits = experiment.initial_state(), experiment.train_step(), math.nan
    for _ in range(_TRAIN.value):
        state, metrics = step(state, put_batch(next(batches), experiment.mesh))
        bits = float(metrics["bits_per_dim"])
    batch = next(batches)
    batches.close()
    return state, bits, batch


def first_batch(dataset: Dataset, config: Config) -> Any:
    """The first training batch of the measured size."""
    batches = train_batches(dataset, config.data, batch=config.train.batch, seed=0)
    batch = next(batches)
    batches.close()
    return batch


def gradient(config: Config, dataset: Dataset, variables: Any, batch: Any) -> Any:
    """The gradient of the loss in the configuration's precision, the dequantisation noise fixed."""
    noise = np.random.default_rng(0).uniform(size=batch["image"].shape) / dataset.spec.levels
    with jax.enable_x64(config.dtype == "float64"):
        method = build_method(config, dataset.spec)

        def cast(a: jax.Array) -> jax.Array:
            return a.astype(config.dtype) if np.issubdtype(a.dtype, np.floating) else a

        variables = jax.tree.map(cast, variables)
        rest = {name: value for name, value in variables.items() if name != "params"}
        images = np.asarray(batch["image"])

        def loss(params: Any, noise: jax.Array) -> jax.Array:
            inputs = {"image": images, "cond": {}, "noise": noise}
            return method.loss({"params": params, **rest}, jax.random.key(0), inputs)[0]

        found = jax.jit(jax.grad(loss))(variables["params"], noise.astype(config.dtype))
        return jax.tree.map(np.asarray, found)


def relative_error(found: Any, exact: Any) -> float:
    """Norm of the difference over the norm, of all parameters together."""
    pairs = list(zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True))
    distance, norm = sum(np.square(a - b).sum() for a, b in pairs), sum(np.square(b).sum() for _, b in pairs)
    return float(f"{np.sqrt(distance / norm):.2e}")


if __name__ == "__main__":
    run_main(main)
