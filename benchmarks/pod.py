"""What a configuration costs on a TPU slice, compiled ahead of time on any machine.

`python benchmarks/pod.py --topology=v5e:4x4 --config=configs/glow/imagenet64.py --config.mesh.fsdp=4`

The train step and the sampler are compiled for the slice by the TPU's own compiler (libtpu: `pip install
'glowdiff[tpu]'`), with every device holding a copy of the state and, if the configuration says so, with the state split
over `mesh.fsdp` devices. Nothing runs, no data are read: bytes and collectives are what the compiler has decided.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import sys
import time
from pathlib import Path
from typing import Any

import jax
from absl import flags
from jax.experimental import topologies
from jax.sharding import Mesh
from ml_collections import config_flags

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.hlo import Collective, dense_algebra_in_loops, find_collectives
from benchmarks.main import run_main
from benchmarks.programs import Program, make_experiment, sample_program, train_program
from benchmarks.report import mebibytes, print_facts, print_json, print_rows
from benchmarks.synthetic import known_spec, nothing_in
from glowdiff.catalog.parse import parse
from glowdiff.config.sections import Config
from glowdiff.errors import ConfigError
from glowdiff.sharding import make_mesh

_CONFIG = config_flags.DEFINE_config_file("config", None, "The configuration, such as configs/glow/imagenet64.py.")
_TOPOLOGY = flags.DEFINE_string("topology", "v5e:4x4", "The slice, such as v5e:4x4, v4:2x2x4 or v5p:2x2x1.")
_SAMPLES = flags.DEFINE_integer("samples", None, "Images per call of the sampler; default: as many as train.batch.")
_EFFORT = flags.DEFINE_float(
    "effort", None, "From -1 to 1: how hard the compiler tries for speed; -1 compiles large models in minutes."
)
_HLO = flags.DEFINE_string("hlo", None, "A folder to keep the compiled programs' text in, to look closer.")

# There is no TPU: libtpu must neither look for one nor lock it.
_LIBTPU = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-16",  # has to be some slice; need not be the one that is compiled for
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
}


def main(argv: list[str]) -> None:
    """Compile and print: data-parallel first, then as the configuration's mesh says, if that is another."""
    del argv
    jax.config.update("jax_platforms", "cpu")  # this host's own devices have no part in it
    jax.config.update("jax_enable_compilation_cache", False)  # nothing compiled here runs here
    config, devices = parse(_CONFIG.value), slice_devices(_TOPOLOGY.value)
    results = []
    for fsdp in sorted({1, config.mesh.fsdp}):
        mesh = dataclasses.replace(config.mesh, fsdp=fsdp, data=config.mesh.data if fsdp == config.mesh.fsdp else -1)
        results += report(dataclasses.replace(config, mesh=mesh), devices)
    print_json({"topology": _TOPOLOGY.value, "device": devices[0].device_kind, "programs": results})


def slice_devices(topology: str) -> list[Any]:
    """The devices of a TPU slice that need not exist.

    Raises:
      ConfigError: libtpu is not installed, or knows no such slice.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise ConfigError("compiling for a TPU needs its compiler, libtpu: pip install 'glowdiff[tpu]'.")
    for name, value in _LIBTPU.items():
        os.environ.setdefault(name, value)
    try:
        return list(topologies.get_topology_desc(topology, platform="tpu").devices)
    except Exception as error:  # libtpu raises what it likes
        message = str(error).splitlines()[0]
        raise ConfigError(f"topology is {topology!r}, which libtpu refuses ({message}); try v5e:4x4.") from error


def report(config: Config, devices: list[Any]) -> list[dict[str, Any]]:
    """Compile the train step and the sampler for `devices`, and print what they cost."""
    mesh = make_mesh(config.mesh, devices)
    experiment = make_experiment(config, nothing_in(known_spec(config.data)), mesh)
    samples = -(-(_SAMPLES.value or config.train.batch) // mesh.size) * mesh.size
    where = f"{mesh.size} x {devices[0].device_kind} ({_TOPOLOGY.value}), mesh {dict(mesh.shape)}"
    results = []
    programs = [train_program(experiment)]
    if experiment.method.draws is not None:
        programs.append(sample_program(experiment, samples))
    for program in programs:
        try:
            result, collectives = examine(program, mesh)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            reason = str(error).splitlines()[0].partition("RESOURCE_EXHAUSTED: ")[2]
            print(f"\n{config.data.name}: {program.name} of {program.batch} images on {where} does not fit: {reason}\n")
            results.append({"program": program.name, "mesh": dict(mesh.shape), "does_not_fit": reason})
            continue
        print_facts(f"{config.data.name}: {program.name} of {program.batch} images on {where}", _readable(result))
        print_rows("Collectives, bytes per device:", summarize(collectives))
        results.append({"program": program.name, "mesh": dict(mesh.shape), **result})
        results[-1]["collectives"] = [collective._asdict() for collective in collectives]
    return results


def examine(program: Program, mesh: Mesh) -> tuple[dict[str, Any], list[Collective]]:
    """Compile a program; return its figures and its collectives."""
    flops = program.flops()
    start = time.perf_counter()
    options = {} if _EFFORT.value is None else {"exec_time_optimization_effort": _EFFORT.value}
    compiled = program.lower().compile(compiler_options=options)
    seconds = time.perf_counter() - start
    memory, text = compiled.memory_analysis(), compiled.as_text()
    if _HLO.value:
        folder = Path(_HLO.value)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{program.name.replace(' ', '_')}_fsdp{mesh.shape['fsdp']}.txt").write_text(text)
    result = {
        "batch": program.batch,
        "compile_seconds": round(seconds, 1),
        "flops_per_device": flops // mesh.size,
        "argument_bytes": memory.argument_size_in_bytes,
        "output_bytes": memory.output_size_in_bytes - memory.alias_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "dense_algebra_in_loops": dense_algebra_in_loops(text),
    }
    return result, find_collectives(text)


def summarize(collectives: list[Collective]) -> list[dict[str, Any]]:
    """Collectives of one kind and one cause in a row, the largest first."""
    groups: dict[tuple[str, str, int, int | None], list[Collective]] = {}
    for collective in collectives:
        key = (collective.kind, cause(collective), collective.loops, collective.times)
        groups.setdefault(key, []).append(collective)
    rows = []
    for (kind, source, loops, times), members in groups.items():
        size = sum(member.bytes for member in members)
        rows.append(
            {
                "collective": kind,
                "of": source,
                "number": len(members),
                "runs": "?" if times is None else f"{times}, in a loop" if loops else "1",
                "bytes each time": size,
                "bytes in all": size * (times or 1),
            }
        )
    return sorted(rows, key=lambda row: -row["bytes in all"])


def cause(collective: Collective) -> str:
    """What a collective is for, by the JAX operation that it stems from."""
    if all(shape.endswith("[]") for shape in collective.shapes):
        return "scalars"
    if collective.kind == "all-gather" and any("/rematted_computation/" in source for source in collective.sources):
        return "parameters, to recompute activations"
    parts = {_part(source) for source in collective.sources if "/transpose(" in source}
    if parts:
        what = "gradient" if all("transpose(" in source for source in collective.sources) else "loss and gradient"
        return f"{what} ({parts.pop() if len(parts) == 1 else 'the rest'})"
    if collective.kind == "all-gather" and any(s.endswith("/sharding_constraint") for s in collective.sources):
        return "parameters"
    return f"{collective.sources[0] if collective.sources else 'the compiler'}: {', '.join(collective.shapes)}"


def _part(source: str) -> str:
    """The module that a gradient is of: what follows the transposed function in the path, loops left out."""
    path = source.partition("/transpose(")[2].split("/")[1:]
    return next((name for name in path if name not in ("while", "body", "closed_call", "checkpoint")), "loss")


def _readable(result: dict[str, Any]) -> dict[str, Any]:
    dense = result["dense_algebra_in_loops"]
    return {
        "FLOPs per device, recomputation included": f"{result['flops_per_device']:,}",
        "arguments per device": mebibytes(result["argument_bytes"]),
        "outputs per device (not reusing arguments)": mebibytes(result["output_bytes"]),
        "temporaries per device": mebibytes(result["temporary_bytes"]),
        "factorisations, solves and inverses in loops": ", ".join(dense) or "none",
        "compiled in": f"{result['compile_seconds']} s",
    }


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    run_main(main)
