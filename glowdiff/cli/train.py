"""`glowdiff train`: any key of a configuration is a flag; the same command goes on after an interruption."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from glowdiff.cli.configurations import configuration
from glowdiff.cli.flags import Flags
from glowdiff.cli.main import command, initialize
from glowdiff.cli.paths import check_folder
from glowdiff.config.sections import Config
from glowdiff.importers.feature_network import find
from glowdiff.metrics.figures import chosen, reads_captions
from glowdiff.metrics.look import Network
from glowdiff.metrics.scores import describe
from glowdiff.profiling.span import read_span
from glowdiff.training.compilation import EFFORTS
from glowdiff.training.loop import train


def flags() -> Flags:
    """What the command takes."""
    flags = Flags(
        "glowdiff train",
        "Trains a model; the same command goes on after an interruption.",
        "README.md, and `glowdiff configs` for the configurations",
        "--config=glow/digits --workdir=runs/glow_digits [--config.train.steps=500 ...]",
        section="config",
    )
    flags.add(
        "config", "A configuration's name, or a file: my_model.py. With :smoke it runs in seconds.",
        shown="NAME", needed=True,
    )  # fmt: skip
    flags.add("workdir", "Where checkpoints, metrics and pictures go; local or gs://.", Path, shown="DIR", needed=True)
    flags.add("dry_run", "Check everything and print the table, without training.", bool, default=False)
    flags.add("effort", "Of the compiler: O0 (soonest done, for a first look at a large model) to O3.", choices=EFFORTS)
    flags.add("profile", "Trace the steps after FROM, up to TO: 10:13 are three.", shown="FROM:TO")
    flags.note("--config.KEY=VALUE", "Any key of it: --config.train.batch=32.")
    return flags


@command
def main(arguments: Sequence[str]) -> None:
    """Parse, and call the package."""
    typed = flags().parse(arguments)
    profile = None if typed.profile is None else read_span("--profile", typed.profile)
    config = configuration(typed.config, typed.keys)
    check_folder("--workdir", typed.workdir)
    initialize(typed.workdir)
    network = _network(config)
    metrics = train(config, typed.workdir, dry_run=typed.dry_run, profile=profile, effort=typed.effort, network=network)
    for name, value in metrics.items():
        if name.startswith("test_"):
            print(f"{describe(name)}: {value:.4f}")


def _network(config: Config) -> Network | None:
    """What measures samples while training, if anything is to."""
    if not config.eval.metrics:
        return None
    captions = reads_captions(chosen(config.eval.metrics, "eval.metrics"))
    return find(config.eval.features, "eval.features", captions=captions)
