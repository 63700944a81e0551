"""`glowdiff prepare NAME`: reads or downloads a data set before any training needs it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from glowdiff.cli.flags import Flags
from glowdiff.cli.main import command
from glowdiff.config.sections import DataConfig
from glowdiff.data.dataset import prepare
from glowdiff.errors import printable


def flags() -> Flags:
    """What the command takes; flags are keys of the section `data`."""
    usual = DataConfig()
    flags = Flags(
        "glowdiff prepare",
        "Reads (or downloads) a data set and writes it to disk.",
        "docs/data/",
        "NAME [--size=32] ...",
    )
    flags.add_word("name", "digits, photos, openmoji, folder, or a TFDS data set such as cifar10.", needed=True)
    flags.add("dir", "Where prepared sets are kept: as data.dir in training.", Path, shown="DIR")
    flags.add("path", "folder: the folder of images.", Path, shown="DIR")
    flags.add("size", "Side in pixels: as data.size in training.", int, low=1)
    flags.add("background", "openmoji: as data.background.", default=usual.background)
    flags.add("max_bad", "folder: as data.max_bad.", float, default=usual.max_bad)
    flags.add("test_fraction", "folder: as data.test_fraction.", float, default=usual.test_fraction)
    return flags


@command
def main(arguments: Sequence[str]) -> None:
    """Parse, and call the package."""
    typed = flags().parse(arguments)
    keys = ("name", "dir", "path", "size", "background", "max_bad", "test_fraction")
    config = DataConfig(**{key: getattr(typed, key) for key in keys})
    config.check()
    print(printable(f"{config.name} is ready in {prepare(config)}"))
