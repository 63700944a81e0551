"""`python -m glowdiff.importers glow --weights=FILE --flags=... --workdir=...`: a workdir of published weights."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from glowdiff.config.schema import ConfigError
from glowdiff.importers import flags
from glowdiff.importers.mapping import WeightsError
from glowdiff.importers.workdir import import_glow
from glowdiff.training.checkpoint import CheckpointError


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m glowdiff.importers", description="Imports published weights.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("glow", help="a checkpoint of the original Glow (TensorFlow), see docs/importing.md")
    command.add_argument("--weights", required=True, type=Path, help="an .npz file of its variables by name")
    command.add_argument(
        "--flags", required=True, help="of its training: a JSON file (such as its train.txt), JSON, or key=value,..."
    )
    command.add_argument("--workdir", required=True, help="where to write; must be empty or not there")
    command.add_argument("--data", help="a data set's name, an .npz file or a folder; default: after the flags")
    command.add_argument("--batch", type=int, default=0, help="images per step, to train on; default: the original's")
    options = parser.parse_args(arguments)
    try:
        values = flags.read(options.flags)
        ready = import_glow(options.weights, values, options.workdir, data=options.data, batch=options.batch)
    except (ConfigError, WeightsError, CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.workdir} holds the model; sample.py --workdir={options.workdir} draws from it.")
    if not ready:
        print("Its data set is not on this machine: to train on, prepare it first and import again.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
