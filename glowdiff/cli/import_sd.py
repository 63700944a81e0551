"""`glowdiff import stable_diffusion`: a workdir of a whole checkpoint, UNet, autoencoder and text encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from glowdiff.cli.flags import Flags
from glowdiff.cli.paths import check_folder
from glowdiff.errors import printable
from glowdiff.importers import sd_flags
from glowdiff.importers.family import DTYPES
from glowdiff.importers.sd_model import Asked, Model
from glowdiff.importers.stable_diffusion import import_checkpoint

NAME = "stable_diffusion"
ABOUT = "Stable Diffusion 1 and 2, inpainting, x4 upscaler, and latent diffusion"


def flags() -> Flags:
    """What the command takes."""
    flags = Flags(
        f"glowdiff import {NAME}", f"Imports {ABOUT}.", "docs/latent_diffusion.md",
        "--weights=FILE_OR_FOLDER --workdir=DIR ...",
    )  # fmt: skip
    flags.add("weights", "A .safetensors or .ckpt file, or a folder of diffusers.", Path, needed=True)
    flags.add("workdir", "Where to write; must be empty or not there.", Path, shown="DIR", needed=True)
    flags.add("prediction", "What the UNet predicts, where nothing says it: eps or v.", choices=("eps", "v"))
    flags.add("vocab", "CLIP's bpe_simple_vocab_16e6.txt.gz; default: the folder's, or open_clip's.", Path)
    flags.add("clip_skip", "2: without the text encoder's last layer, and so on.", int, default=1, low=1)
    flags.add("ema", "Averages (model_ema) that full checkpoints hold, instead of the weights.", bool, default=False)
    flags.add("size", "Pixels of a side; default: as published.", int, low=8)
    flags.add("flags", "What no shape tells, of uncommon models: the YAML of its training, or num_heads=8,...")
    flags.add("dtype", f"Of the arithmetic: {' or '.join(DTYPES)}.", default="float32", choices=DTYPES)
    flags.add("data", "Of which images it is: a data set's name, an .npz file or a folder.", shown="NAME")
    flags.add("batch", "Images per step, to train on; else as published.", int, low=1)
    return flags


def run(arguments: Sequence[str]) -> None:
    """Parse, and call the package."""
    typed = flags().parse(arguments)
    check_folder("--workdir", typed.workdir)
    asked = Asked(
        typed.prediction, sd_flags.read(typed.flags) if typed.flags else {}, typed.clip_skip, typed.ema, typed.size,
        typed.data, typed.batch or 0, typed.dtype, Path(typed.vocab) if typed.vocab else None,
    )  # fmt: skip
    model = import_checkpoint(Path(typed.weights), typed.workdir, asked)
    print(
        printable(
            f"{typed.workdir} holds {model.kind.name}, which predicts {model.prediction}; {_use(typed.workdir, model)}"
        )
    )


def _use(workdir: str, model: Model) -> str:
    """What to do with a workdir."""
    run = f"--workdir={workdir}" + (' --prompt="..."' if model.text else "")
    if model.kind.enlarges:
        return f"sample.py {run} --low_res=FILE enlarges pictures of {model.latent.side}x{model.latent.side} pixels."
    if model.kind.inpaints:
        return f"glowdiff edit inpaint {run} --image=FILE --mask=FILE paints in them."
    return f"sample.py {run} draws from it."
