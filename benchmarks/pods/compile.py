"""Programs compiled for a slice of TPUs that need not be there, and what the compiler says of them."""

from __future__ import annotations

import importlib.util
import os
import time
from pathlib import Path
from typing import Any

import jax
from jax.experimental import topologies

from benchmarks.datasheet import TPU_CHIPS
from benchmarks.hlo import dense_algebra_in_loops, find_collectives
from benchmarks.pods.causes import summarize
from benchmarks.programs import Program, model_flops
from benchmarks.tiles import tiled_flops
from benchmarks.traffic import hbm_traffic
from glowdiff.errors import ConfigError
from glowdiff.training.compilation import options_of
from glowdiff.training.experiment import Experiment

# There is no TPU: libtpu must neither look for one nor lock it.
_LIBTPU = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-16",  # has to be some slice; need not be the one that is compiled for
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
}


def check_compiler() -> None:
    """Raise `ConfigError` unless libtpu is installed."""
    if importlib.util.find_spec("libtpu") is None:
        raise ConfigError("compiling for a TPU needs its compiler, libtpu: pip install 'glowdiff[tpu]'.")


def slice_devices(topology: str) -> list[Any]:
    """The devices of a TPU slice that need not exist.

    Raises:
      ConfigError: libtpu is not installed, or knows no such slice.
    """
    check_compiler()
    for name, value in _LIBTPU.items():
        os.environ.setdefault(name, value)
    try:
        return list(topologies.get_topology_desc(topology, platform="tpu").devices)
    except Exception as error:  # libtpu raises what it likes
        message = str(error).splitlines()[0]
        raise ConfigError(f"topology is {topology!r}, which libtpu refuses ({message}); try v5e:4x4.") from error


def examine(program: Program, experiment: Experiment, effort: str | None, hlo: Path | None) -> dict[str, Any]:
    """Compile a program for the experiment's mesh; return its figures on each device.

    FLOPs are counted on the jaxpr: `flops` with recomputation, `model_flops` without, `tiled_flops` with the matrix
    unit's tiles filled up. `hbm_bytes` are counted in the compiled program. With a chip that the datasheets here do not
    have, there are no `tiled_flops`. If the program does not fit, `needs` is what the compiler says of it, and what
    only a compiled program has is missing.

    Args:
      program: of the experiment.
      experiment: whose mesh is made of devices of a slice.
      effort: of the compiler, see `options_of`.
      hlo: a file to keep the compiled program's text in.
    """
    mesh = experiment.mesh
    chip = TPU_CHIPS.get(mesh.devices.flat[0].device_kind)
    figures: dict[str, Any] = {
        "batch": program.batch,
        "flops": program.flops() // mesh.size,
        "model_flops": model_flops(program, experiment) // mesh.size,
    }
    if chip is not None:
        figures["tiled_flops"] = round(tiled_flops(program.jaxpr(), chip.tile)) // mesh.size
    start = time.perf_counter()
    try:
        compiled = program.lower().compile(compiler_options=options_of(effort))
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        reason = str(error).splitlines()[0].partition("RESOURCE_EXHAUSTED: ")[2]
        return {**figures, "fits": False, "compile_seconds": _since(start), "needs": reason}
    figures |= {"fits": True, "compile_seconds": _since(start)}
    memory, text = compiled.memory_analysis(), compiled.as_text()
    if hlo is not None:
        hlo.parent.mkdir(parents=True, exist_ok=True)
        hlo.write_text(text)
    traffic = hbm_traffic(text)
    return {
        **figures,
        "argument_bytes": memory.argument_size_in_bytes,
        "output_bytes": memory.output_size_in_bytes - memory.alias_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "hbm_bytes": traffic.bytes,
        "loop_lengths_known": traffic.lengths_known,
        "dense_algebra_in_loops": dense_algebra_in_loops(text),
        "collectives": summarize(find_collectives(text), mesh.size),
    }


def _since(start: float) -> float:
    return round(time.perf_counter() - start, 1)
