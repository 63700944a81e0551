"""What configurations cost on TPU slices, compiled ahead of time on any machine.

`python benchmarks/pod.py --topology=v5e:4x4 --effort=O0 --config=configs/adm/imagenet256.py --config.mesh.fsdp=16`
`python benchmarks/pod.py --all`

The first compiles the train step and the sampler of a configuration, on the mesh that it names, with the TPU's own
compiler (libtpu: `pip install 'glowdiff[tpu]'`). Nothing runs, no data are read: bytes and collectives are what the
compiler has decided, times are bounds by the maker's figures of a chip.

The second compiles every published configuration of 100M parameters and more (`pods/published.py`), one after the
other, for hours. Programs whose figures lie in docs/data/pods/ already are left out, so it may be ended and started
again. It ends with what `--page` does alone: the tables of docs/pods.md.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import jax
from absl import flags
from ml_collections import config_flags

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.main import run_main
from benchmarks.pods import every, page, record
from benchmarks.pods.compile import examine, slice_devices
from benchmarks.programs import make_experiment, sample_program, train_program
from benchmarks.report import print_facts, print_json, print_rows
from benchmarks.synthetic import known_spec, nothing_in
from glowdiff.catalog.parse import parse
from glowdiff.errors import ConfigError
from glowdiff.sharding import make_mesh
from glowdiff.training.compilation import EFFORTS
from glowdiff.training.experiment import parameter_count

ROOT = Path(__file__).resolve().parents[1]

_CONFIG = config_flags.DEFINE_config_file("config", None, "The configuration, such as configs/glow/imagenet64.py.")
_ALL = flags.DEFINE_bool("all", False, "Compile every large configuration that has no figures yet.")
_PAGE = flags.DEFINE_bool("page", False, "Write the tables of docs/pods.md from the figures there are.")
_TOPOLOGY = flags.DEFINE_string("topology", "v5e:4x4", "The slice, such as v5e:4x4, v6e:4x4 or v5p:2x2x4.")
_PROGRAM = flags.DEFINE_enum("program", None, ["train", "sampler"], "Only this one; default: both.")
_SAMPLES = flags.DEFINE_integer("samples", None, "Images per call of the sampler; default: as many as train.batch.")
_EFFORT = flags.DEFINE_enum(
    "effort", None, list(EFFORTS), "How hard the compiler tries for speed; O0 compiles large models in minutes."
)
_SAVE = flags.DEFINE_string("save", None, "A file for the figures, as JSON; with --program.")
_HLO = flags.DEFINE_string("hlo", None, "A folder to keep the compiled programs' text in, to look closer.")


def main(argv: list[str]) -> None:
    """Compile one configuration, or all; write the page."""
    del argv
    if _ALL.value:
        every.compile_missing(ROOT, hlo=_HLO.value)
    if _ALL.value or _PAGE.value:
        page.write(ROOT)
        return
    if _CONFIG.value is None:
        raise ConfigError("--config is missing, the configuration to compile, such as configs/glow/imagenet64.py.")
    if _SAVE.value and not _PROGRAM.value:
        raise ConfigError("--save keeps the figures of one program: say which, --program=train or --program=sampler.")
    jax.config.update("jax_platforms", "cpu")  # this host's own devices have no part in it
    jax.config.update("jax_enable_compilation_cache", False)  # nothing compiled here runs here
    results = compile_programs()
    for result in results:
        print_facts(record.title(result), record.facts(result))
        print_rows("Collectives, bytes per device:", result.get("collectives", []))
        if _SAVE.value:
            record.save(Path(_SAVE.value), result)
    print_json({"programs": results})


def compile_programs() -> list[dict[str, Any]]:
    """The records of the configuration's programs, or of the one that is asked for."""
    config, devices = parse(_CONFIG.value), slice_devices(_TOPOLOGY.value)
    mesh = make_mesh(config.mesh, devices)
    experiment = make_experiment(config, nothing_in(known_spec(config.data)), mesh)
    samples = -(-(_SAMPLES.value or config.train.batch) // mesh.size) * mesh.size
    programs = {"train": lambda: train_program(experiment)}
    if experiment.method.draws is not None or _PROGRAM.value == "sampler":
        programs["sampler"] = lambda: sample_program(experiment, samples)
    name = record.config_name(config_flags.get_config_filename(flags.FLAGS["config"]))
    settings = config_flags.get_override_values(flags.FLAGS["config"])
    results = []
    for kind, make in programs.items():
        if _PROGRAM.value not in (None, kind):
            continue
        head = record.head(kind, name, settings, _TOPOLOGY.value, _EFFORT.value)
        hlo = Path(_HLO.value, record.program(head).file).with_suffix(".txt") if _HLO.value else None
        results.append(
            {
                **head,
                "device": devices[0].device_kind,
                "mesh": dict(mesh.shape),
                "parameters": parameter_count(experiment.abstract_state()),
                **examine(make(), experiment, _EFFORT.value, hlo),
            }
        )
    return results


if __name__ == "__main__":
    run_main(main)
