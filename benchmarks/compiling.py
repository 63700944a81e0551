"""CPU seconds between a configuration and its programs: `python benchmarks/compiling.py`.

Tracing (Python), lowering (to StableHLO) and, with --compile, compiling for this host's devices, of the train step and
the sampler. What a TPU's compiler takes is in docs/pods.md.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path
from typing import Any

import jax
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.main import run_main
from benchmarks.programs import Program, make_experiment, sample_program, train_program
from benchmarks.report import print_json, print_rows
from benchmarks.synthetic import known_spec, nothing_in
from glowdiff.cli.configurations import configuration
from glowdiff.sharding import make_mesh

_CONFIGS = flags.DEFINE_list(
    "configs", ["adm/imagenet64", "adm/imagenet256", "glide/base64", "glow/imagenet64", "glow/digits"], "By name."
)
_COMPILE = flags.DEFINE_bool("compile", False, "Compile, for this host's devices.")


def main(argv: list[str]) -> None:
    """Measure and print."""
    del argv
    jax.config.update("jax_enable_compilation_cache", False)
    rows = []
    for name in _CONFIGS.value:
        config = configuration(name, {})
        experiment = make_experiment(config, nothing_in(known_spec(config.data)), make_mesh(config.mesh))
        programs = (train_program(experiment), sample_program(experiment, 16))
        rows += [{"configuration": name, "program": program.name, **stages(program)} for program in programs]
    print_rows("CPU seconds:", rows)
    print_json({"device": jax.devices()[0].device_kind, "rows": rows})


def stages(program: Program) -> dict[str, Any]:
    """CPU seconds of each stage, and lines of the lowered program."""
    jax.clear_caches()  # nothing that another program has traced may help
    clock = [time.process_time()]
    traced = program.function.trace(*program.args, **program.static)
    clock.append(time.process_time())
    lowered = traced.lower()
    clock.append(time.process_time())
    if _COMPILE.value:
        lowered.compile()
        clock.append(time.process_time())
    seconds = [round(after - before, 2) for before, after in itertools.pairwise(clock)]
    lines = lowered.as_text().count("\n")
    return {**dict(zip(("trace", "lower", "compile"), seconds, strict=False)), "lines": lines}


if __name__ == "__main__":
    run_main(main)
