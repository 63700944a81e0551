"""`python -m glowdiff.importers glow|adm|glide|clip --weights=FILE ... --workdir=DIR`: from published weights."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glowdiff.errors import ConfigError, require
from glowdiff.importers import command_line, flags
from glowdiff.importers.adm_config import DTYPES
from glowdiff.importers.adm_workdir import import_adm
from glowdiff.importers.clip_workdir import import_clip
from glowdiff.importers.glide_workdir import import_glide
from glowdiff.importers.glow_workdir import import_glow
from glowdiff.importers.mapping import WeightsError
from glowdiff.importers.releases import GLIDE, RELEASES, release
from glowdiff.workdir import description as workdirs
from glowdiff.workdir.checkpoint import CheckpointError


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        ready = {"glow": _glow, "adm": _adm, "glide": _glide, "clip": _clip}[options.command](options)
    except (ConfigError, WeightsError, CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.workdir} holds the model; {_use(options.workdir)}")
    if options.command == "glide" and options.data is None:
        print(
            "Its images were never published: to fine-tune it on yours, give train.py "
            f"--config=configs/finetune.py:{options.workdir}."
        )
    elif not ready:
        again = (
            "prepare it first and import again" if options.data or options.command != "clip" else "name one by --data"
        )
        print(f"Its data set is not on this machine: to train on, {again}.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m glowdiff.importers", description="Imports published weights, see docs/importing.md."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    glow = commands.add_parser("glow", help="a checkpoint of the original Glow (TensorFlow)")
    glow.add_argument("--weights", required=True, type=Path, help="an .npz file of its variables by name")
    glow.add_argument(
        "--flags", required=True, help="of its training: a JSON file (such as its train.txt), JSON, or key=value,..."
    )
    adm = commands.add_parser("adm", help="a model or classifier of ADM or Improved DDPM (PyTorch)")
    glide = commands.add_parser("glide", help="a denoiser of GLIDE that reads captions (PyTorch)")
    glide.add_argument("--vocab", type=Path, help="a file of GPT-2's vocabulary; default: what tiktoken fetches")
    for command, names in ((adm, "64x64_diffusion, 256x256_classifier ..."), (glide, ", ".join(GLIDE))):
        command.add_argument(
            "--weights", required=True, type=Path, help="its state dict: a .pt, .safetensors or .npz file"
        )
        command.add_argument("--preset", help=f"its name, if it is a release: {names}")
        command.add_argument(
            "--flags", help='otherwise: a file of its flags, JSON, key=value,..., or "--key value ..."'
        )
    clip = commands.add_parser("clip", help="GLIDE's noise-aware CLIP (PyTorch)")
    for tower in ("text", "image"):
        clip.add_argument(
            f"--{tower}_weights", required=True, type=Path,
            help=f"the state dict of clip/{tower}-enc: a .pt, .safetensors or .npz file",
        )  # fmt: skip
    clip.add_argument(
        "--flags", help="of its constructor: JSON, a file of it, or key=value,...; default: the release's"
    )
    clip.add_argument("--vocab", type=Path, help="CLIP's bpe_simple_vocab_16e6.txt.gz; default: the one of open_clip")
    for command in (adm, glide, clip):
        command.add_argument("--dtype", default="float32", help=f"of the arithmetic: {' or '.join(DTYPES)}")
    for command in (glow, adm, glide, clip):
        command.add_argument("--workdir", required=True, help="where to write; must be empty or not there")
        command.add_argument("--data", help="a data set's name, an .npz file or a folder; default: after the flags")
        command.add_argument("--batch", type=int, default=0, help="images per step, to train on; default: published")
    return parser


def _glow(options: argparse.Namespace) -> bool:
    values = flags.read(options.flags)
    return import_glow(options.weights, values, options.workdir, data=options.data, batch=options.batch)


def _adm(options: argparse.Namespace) -> bool:
    preset, values = _preset_or_flags(options, RELEASES)
    return import_adm(
        options.weights, values, options.workdir,
        preset=preset, data=options.data, batch=options.batch, dtype=options.dtype,
    )  # fmt: skip


def _glide(options: argparse.Namespace) -> bool:
    _, values = _preset_or_flags(options, GLIDE)
    return import_glide(
        options.weights, values, options.workdir,
        vocab=options.vocab, data=options.data, batch=options.batch, dtype=options.dtype,
    )  # fmt: skip


def _preset_or_flags(
    options: argparse.Namespace, releases: Mapping[str, dict[str, Any]]
) -> tuple[str | None, dict[str, Any]]:
    """The name of the release, if one is given, and the flags."""
    require(
        (options.preset is None) != (options.flags is None),
        "give either --preset, the name of a release, or --flags, those of the original's training: "
        + ("both were given." if options.preset else "neither was given."),
    )
    preset = options.preset and options.preset.removesuffix(".pt")
    return preset, release(preset, "--preset", releases) if preset else command_line.read(options.flags, releases)


def _clip(options: argparse.Namespace) -> bool:
    return import_clip(
        options.text_weights, options.image_weights, flags.read(options.flags) if options.flags else {},
        options.workdir, vocab=options.vocab, data=options.data, batch=options.batch, dtype=options.dtype,
    )  # fmt: skip


def _use(workdir: str) -> str:
    """What to do with a workdir."""
    config = workdirs.read(workdir).config
    if config.method in ("classifier", "clip"):
        return f"sample.py --{config.method}={workdir} guides with it."
    small = getattr(config.model, "low_res", None)
    prompt = ' --prompt="..."' if config.model.context else ""
    if small:
        return f"sample.py --workdir={workdir}{prompt} --low_res=FILE enlarges pictures of {small}x{small} pixels."
    if getattr(config.model, "inpaint", False):
        return (
            f"glowdiff edit inpaint --workdir={workdir}{prompt} --image=FILE --mask=FILE paints in them."
        )
    return f"sample.py --workdir={workdir}{prompt} draws from it."


if __name__ == "__main__":
    sys.exit(main())
