"""`glowdiff prepare NAME`: reads or downloads a data set before any training needs it; or encodes one once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from glowdiff.cli.flags import Flags
from glowdiff.cli.main import command, initialize
from glowdiff.cli.paths import check_folder
from glowdiff.config.sections import DataConfig
from glowdiff.data.dataset import prepare
from glowdiff.errors import printable
from glowdiff.trained import restore_serving
from glowdiff.training import latents

LATENTS = "latents"
_SECTION = ("dir", "path", "size", "background", "max_bad", "test_fraction")  # keys of `data` that are flags


def flags() -> Flags:
    """What the command takes; flags are keys of the section `data`."""
    flags = Flags(
        "glowdiff prepare",
        "Reads (or downloads) a data set and writes it to disk.",
        "docs/data/",
        "NAME [--size=32] ...",
    )
    about = f"digits, photos, openmoji, folder, or a TFDS data set such as cifar10; or {LATENTS}, which has --help."
    flags.add_word("name", about, needed=True)
    _add_section(flags)
    return flags


def latent_flags() -> Flags:
    """What `glowdiff prepare latents` takes."""
    flags = Flags(
        f"glowdiff prepare {LATENTS}",
        "Encodes a training set once, for diffusion in latents.",
        "docs/latent_diffusion.md",
        "--codec=DIR [--data=NAME ...]",
    )
    flags.add("codec", "The workdir of the autoencoder.", Path, shown="DIR", needed=True)
    flags.add("data", "The data set: as data.name; else all as the autoencoder has learnt.", shown="NAME")
    flags.add("out", "Where latents go; else beside prepared data sets.", Path, shown="DIR")
    flags.add("flip", "Mirrored images too, for training with data.flip.", bool, default=False)
    flags.add("dtype", "In which they are kept.", default="float16", choices=latents.DTYPES)
    flags.add("batch", "Images at a time, over all devices.", int, default=64, low=1)
    flags.add("hold_out", "As data.hold_out.")
    flags.add("train_split", "As data.train_split.")
    flags.add("test_split", "As data.test_split.")
    _add_section(flags)
    return flags


def _add_section(flags: Flags) -> None:
    usual = DataConfig()
    flags.add("dir", "Where prepared sets are kept: as data.dir in training.", Path, shown="DIR")
    flags.add("path", "folder: the folder of images.", Path, shown="DIR")
    flags.add("size", "Side in pixels: as data.size in training.", int, low=1)
    flags.add("background", "openmoji: as data.background.", default=usual.background)
    flags.add("max_bad", "folder: as data.max_bad.", float, default=usual.max_bad)
    flags.add("test_fraction", "folder: as data.test_fraction.", float, default=usual.test_fraction)


@command
def main(arguments: Sequence[str]) -> None:
    """Parse, and call the package."""
    if arguments and arguments[0] == LATENTS:
        encode(arguments[1:])
        return
    typed = flags().parse(arguments)
    config = DataConfig(name=typed.name, **{key: getattr(typed, key) for key in _SECTION})
    config.check()
    print(printable(f"{config.name} is ready in {prepare(config)}"))


def encode(arguments: Sequence[str]) -> None:
    """Encode a training set."""
    typed = latent_flags().parse(arguments)
    if typed.out:
        check_folder("--out", typed.out)
    initialize()
    codec = restore_serving(typed.codec)
    config = codec.config.data if typed.data is None else DataConfig(name=typed.data)
    changes = typed.options((*_SECTION, "hold_out", "train_split", "test_split"))
    config = dataclasses.replace(config, **changes, flip=False, shift=0, latents=None)
    config.check()
    folder = latents.prepare(
        codec, config, Path(typed.out).expanduser() if typed.out else None, mirrored=typed.flip, dtype=typed.dtype,
        batch=typed.batch,
    )  # fmt: skip
    flip = " --config.data.flip=True" if typed.flip else ""
    print(printable(f"latents are ready: train with --config.data.latents={folder}{flip}"))
