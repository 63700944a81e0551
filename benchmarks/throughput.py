"""How fast a configuration trains or samples here: `python benchmarks/throughput.py --config=configs/glow/digits.py`.

Training runs on the configuration's data through the package's own pipeline, or with `--synthetic` on random images of
the same shape. Utilisation (MFU) is the model's FLOPs, counted without recomputation, as a share of the matrix-product
peak that the same devices show in the same run.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from ml_collections import config_flags

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.main import run_main
from benchmarks.programs import Program, make_experiment, model_flops, program_bytes, sample_program, train_program
from benchmarks.report import mebibytes, print_facts, print_json, text
from benchmarks.synthetic import KNOWN, synthetic
from benchmarks.timing import matmul_peak, milliseconds, seconds_of
from glowdiff.catalog.parse import parse
from glowdiff.cli.main import initialize
from glowdiff.config.sections import Config
from glowdiff.data.batches import eval_batches, train_batches
from glowdiff.errors import ConfigError
from glowdiff.inference.drawer import Drawer
from glowdiff.method import conditions_of
from glowdiff.sharding import make_mesh
from glowdiff.training.experiment import Experiment, build, parameter_count
from glowdiff.training.feed import Feed

_CONFIG = config_flags.DEFINE_config_file("config", None, "The configuration, such as configs/glow/digits.py.")
_MODE = flags.DEFINE_enum("mode", "train", ["train", "sample"], "What to time.")
_BATCH = flags.DEFINE_integer(
    "batch", None, "Images at a time; default: train.batch or pictures.images.", lower_bound=1
)
_STEPS = flags.DEFINE_integer("steps", 50, "Steps, or calls of the sampler, that are timed.", lower_bound=1)
_WARMUP = flags.DEFINE_integer("warmup", 3, "Steps before those.", lower_bound=1)
_SYNTHETIC = flags.DEFINE_bool("synthetic", False, "Random images in the shape of the data set, which is not read.")


def main(argv: list[str]) -> None:
    """Compile, time, print."""
    del argv
    initialize()
    jax.config.update("jax_enable_compilation_cache", False)  # compile time is one of the figures
    config = parse(_CONFIG.value)
    if _MODE.value == "train" and _BATCH.value:
        config = dataclasses.replace(config, train=dataclasses.replace(config.train, batch=_BATCH.value))
    experiment = load(config)
    result = train(experiment) if _MODE.value == "train" else sample(experiment)
    device = experiment.mesh.devices.flat[0]
    peak = matmul_peak(experiment.mesh, config.dtype)
    facts = {
        "mode": _MODE.value,
        "data": config.data.name + (" (synthetic: random images)" if _SYNTHETIC.value else ""),
        "devices": experiment.mesh.size,
        "device": device.device_kind,
        "mesh": dict(experiment.mesh.shape),
        "dtype": config.dtype,
        "parameters": parameter_count(experiment.abstract_state()),
        **result,
        "model_tflops": round(result["flops"] / (1e9 * result["ms_median"]), 6),
        "peak_tflops": round(peak / 1e12, 6),
        "mfu": round(1e3 * result["flops"] / (result["ms_median"] * peak), 4),
        "device_peak_bytes": (device.memory_stats() or {}).get("peak_bytes_in_use"),
    }
    if jax.process_index() == 0:
        print_facts(f"Throughput, {_STEPS.value} timed:", _readable(facts))
        print_json(facts)


def load(config: Config) -> Experiment:
    """The experiment with its own data, or random images.

    Raises:
      ConfigError: the data cannot be read; where random images would do, the message says so.
    """
    if _SYNTHETIC.value:
        return make_experiment(config, synthetic(config), make_mesh(config.mesh))
    try:
        return build(config)
    except ConfigError as error:
        hint = " Or benchmark on random images of its shape: --synthetic." if config.data.name in KNOWN else ""
        raise ConfigError(f"{error}{hint}") from error


def train(experiment: Experiment) -> dict[str, Any]:
    """Time optimiser steps as the training loop runs them: the next batch is fetched while the devices work."""
    config = experiment.config
    state = experiment.initial_state()
    program = train_program(experiment)
    compiled, figures = compile_program(program, experiment)
    local = jax.process_index(), jax.process_count()
    batches = train_batches(
        experiment.dataset,
        config.data,
        batch=program.batch,
        seed=config.seed,
        process_index=local[0],
        process_count=local[1],
    )
    feed, seconds, waited = Feed(batches, experiment.mesh), [], 0.0
    for step in range(_WARMUP.value + _STEPS.value):
        if step == _WARMUP.value:
            waited = feed.waited
        start = time.perf_counter()
        state, metrics = compiled(state, feed.next())
        feed.prepare()
        jax.block_until_ready(metrics)
        seconds.append(time.perf_counter() - start)
    batches.close()
    timed = seconds[_WARMUP.value :]
    rate = round(program.batch * len(timed) / sum(timed), 2)
    share = round((feed.waited - waited) / sum(timed), 5)
    return {**figures, **milliseconds(timed), "images_per_second": rate, "data_wait": share}


def sample(experiment: Experiment) -> dict[str, Any]:
    """Time calls of the sampler, from key to pixels in the host's memory."""
    config, mesh = experiment.config, experiment.mesh
    n = -(-(_BATCH.value or config.pictures.images) // mesh.size) * mesh.size
    variables = experiment.initial_state().variables
    program = sample_program(experiment, n)
    _, figures = compile_program(program, experiment)
    drawer, key = Drawer(experiment.method, mesh), jax.random.key(config.seed)
    first = next(eval_batches(experiment.dataset, batch=n, limit=n))
    cond = {name: np.asarray(array) for name, array in conditions_of(experiment.method.takes, first).items()}

    def draw() -> Any:
        return drawer(variables, key, n, cond=cond, options=config.sampling).images

    seconds_of(draw, _WARMUP.value)
    timed = seconds_of(draw, _STEPS.value)
    rate = round(n * len(timed) / sum(timed), 2)
    return {**figures, **milliseconds(timed), "images_per_second": rate, "data_wait": None}


def compile_program(program: Program, experiment: Experiment) -> tuple[Any, dict[str, Any]]:
    """The compiled program and what is known before it runs."""
    start = time.perf_counter()
    compiled = program.lower().compile()
    seconds = time.perf_counter() - start
    total, temporary = program_bytes(compiled)
    return compiled, {
        "batch": program.batch,
        "compile_seconds": round(seconds, 3),
        "program_bytes": total,
        "temporary_bytes": temporary,
        "flops": model_flops(program, experiment),
    }


def _readable(facts: dict[str, Any]) -> dict[str, str]:
    mesh = " x ".join(f"{axis} {length}" for axis, length in facts["mesh"].items())
    wait = facts["data_wait"]
    return {
        "data": facts["data"],
        "devices": f"{facts['devices']} x {facts['device']}, mesh {mesh}, {facts['dtype']}",
        "parameters": text(facts["parameters"]),
        "batch": text(facts["batch"]),
        "compiled in": f"{facts['compile_seconds']:.1f} s",
        f"ms per {'step' if facts['mode'] == 'train' else 'call'}, median (p90)": (
            f"{facts['ms_median']:,.2f} ({facts['ms_p90']:,.2f})"
        ),
        "images/s": f"{facts['images_per_second']:,.1f}",
        "model FLOPs per call": f"{facts['flops']:,}",
        "model TFLOP/s": text(facts["model_tflops"]),
        "matrix products, TFLOP/s": text(facts["peak_tflops"]),
        "MFU": f"{facts['mfu']:.1%}",
        "program's bytes per device (temporaries)": (
            f"{mebibytes(facts['program_bytes'])} ({mebibytes(facts['temporary_bytes'])})"
        ),
        "peak bytes of the first device": mebibytes(facts["device_peak_bytes"]),
        "time fetching data (at most this held up the steps)": "-" if wait is None else f"{wait:.2%}",
    }


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    run_main(main)
