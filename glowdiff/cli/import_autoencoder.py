"""`glowdiff import autoencoder`: a workdir of an autoencoder alone, in whose latents diffusion models train."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from glowdiff.cli.flags import Flags
from glowdiff.cli.paths import check_folder
from glowdiff.errors import printable
from glowdiff.importers.family import DTYPES
from glowdiff.importers.first_stage import MEASURED, SIDE, Asked, import_checkpoint

NAME = "autoencoder"
ABOUT = "first stages of latent diffusion, and the autoencoder of Stable Diffusion"


def flags() -> Flags:
    """What the command takes."""
    flags = Flags(
        f"glowdiff import {NAME}", f"Imports {ABOUT}.", "docs/latent_diffusion.md",
        "--weights=FILE_OR_FOLDER --workdir=DIR ...",
    )  # fmt: skip
    flags.add("weights", "A file, alone or of a whole checkpoint; or a folder of diffusers.", Path, needed=True)
    flags.add("workdir", "Where to write; must be empty or not there.", Path, shown="DIR", needed=True)
    flags.add("scale", f"By what latents are multiplied, where no folder says it; or {MEASURED}.", shown="FACTOR")
    flags.add("size", f"Pixels of a side of images; default: {SIDE}.", int, low=8)
    flags.add("data", "Of which images it is: a data set's name, an .npz file or a folder.", shown="NAME")
    flags.add("dtype", f"Of the arithmetic: {' or '.join(DTYPES)}.", default="float32", choices=DTYPES)
    return flags


def run(arguments: Sequence[str]) -> None:
    """Parse, and call the package."""
    typed = flags().parse(arguments)
    check_folder("--workdir", typed.workdir)
    asked = Asked(typed.scale, typed.size, typed.data, typed.dtype)
    stage = import_checkpoint(Path(typed.weights), typed.workdir, asked)
    kind = f"{stage.bottleneck.name}-f{stage.network.factor}"
    use = f"--config.model.codec.name=autoencoder --config.model.codec.workdir={typed.workdir} trains in its latents."
    print(printable(f"{typed.workdir} holds an autoencoder ({kind}); {use}"))
