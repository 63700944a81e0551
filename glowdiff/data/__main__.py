"""`python -m glowdiff.data prepare NAME`: prepares a data set before any training needs it."""

from __future__ import annotations

import argparse
import sys

from glowdiff.config.sections import DataConfig
from glowdiff.data.dataset import prepare
from glowdiff.errors import ConfigError


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    defaults = DataConfig()
    parser = argparse.ArgumentParser(prog="python -m glowdiff.data", description="Prepares data sets.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("prepare", help="read (or download) a data set and write it to disk")
    command.add_argument("name", help="digits, photos, openmoji, folder, or a TFDS data set such as cifar10")
    command.add_argument("--dir", help="where prepared sets are kept: as data.dir in training")
    command.add_argument("--path", help="folder: the folder of images")
    command.add_argument("--size", type=int, help="side in pixels: as data.size in training")
    command.add_argument("--background", default=defaults.background, help="openmoji: as data.background")
    command.add_argument("--max-bad", type=float, default=defaults.max_bad, help="folder: as data.max_bad")
    fraction = defaults.test_fraction
    command.add_argument("--test-fraction", type=float, default=fraction, help="folder: as data.test_fraction")
    options = parser.parse_args(arguments)
    config = DataConfig(
        name=options.name,
        path=options.path,
        dir=options.dir,
        size=options.size,
        background=options.background,
        max_bad=options.max_bad,
        test_fraction=options.test_fraction,
    )
    try:
        config.check()
        print(f"{config.name} is ready in {prepare(config)}")
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
