"""`glowdiff import SYSTEM --weights=FILE ... --workdir=DIR`: a workdir of published weights."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from glowdiff.catalog.methods import build_method
from glowdiff.errors import ConfigError, require
from glowdiff.importers import flags
from glowdiff.importers.adm import ADM
from glowdiff.importers.clip import CLIP
from glowdiff.importers.family import DTYPES, Family, Request, import_release
from glowdiff.importers.glide import GLIDE
from glowdiff.importers.glow import GLOW
from glowdiff.importers.mapping import WeightsError
from glowdiff.method import context, row
from glowdiff.workdir import description
from glowdiff.workdir.checkpoint import CheckpointError

FAMILIES = {family.name: family for family in (GLOW, ADM, GLIDE, CLIP)}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    options = _parser().parse_args(arguments)
    family = FAMILIES[options.command]
    try:
        release, values = _flags(family, options)
        files = {file.flag: getattr(options, file.flag) for file in family.files}
        vocabulary = getattr(options, "vocab", None)
        request = Request(release, options.data, options.batch, options.dtype, vocabulary)
        ready = import_release(family, files, values, options.workdir, request)
    except (ConfigError, WeightsError, CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.workdir} holds the model; {_use(options.workdir)}")
    if family.unpublished and not options.data:
        print(family.unpublished.format(workdir=options.workdir))
    elif not ready:
        print("Its data set is not on this machine: to train on, prepare it first and import again.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="glowdiff import", description="Imports published weights, see docs/importing.md."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for family in FAMILIES.values():
        command = commands.add_parser(family.name, help=family.help)
        for file in family.files:
            command.add_argument(f"--{file.flag}", required=True, type=Path, help=file.help)
        if family.releases:
            names = ", ".join(list(family.releases)[:4]) + (" ..." if len(family.releases) > 4 else "")
            command.add_argument("--preset", help=f"its name, if it is a release: {names}")
        needed = not (family.releases or family.complete)
        command.add_argument(
            "--flags", required=needed, help=f"{'otherwise: ' if family.releases else ''}{family.flags}"
        )
        if family.tokenizer:
            command.add_argument("--vocab", type=Path, help=family.vocabulary)
        command.add_argument("--dtype", default="float32", help=f"of the arithmetic: {' or '.join(DTYPES)}")
        command.add_argument("--workdir", required=True, help="where to write; must be empty or not there")
        command.add_argument("--data", help="a data set's name, an .npz file or a folder; default: after the flags")
        command.add_argument("--batch", type=int, default=0, help="images per step, to train on; default: published")
    return parser


def _flags(family: Family, options: argparse.Namespace) -> tuple[str | None, dict[str, Any]]:
    """The name of the release, if one is given, and the flags."""
    preset = getattr(options, "preset", None)
    if family.releases:
        require(
            (preset is None) != (options.flags is None),
            "give either --preset, the name of a release, or --flags, those of the original's training: "
            + ("both were given." if preset else "neither was given."),
        )
    if preset is not None:
        return preset.removesuffix(".pt"), flags.release(preset, family.releases, "--preset")
    return None, flags.read(options.flags, family.releases) if options.flags else {}


def _use(workdir: str) -> str:
    """What to do with a workdir."""
    config, spec = description.read(workdir)
    method = build_method(config, spec)
    if method.guides is not None:
        return f"sample.py --{config.method}={workdir} guides with it."
    run = f"--workdir={workdir}" + (' --prompt="..."' if context(method.takes) else "")
    for each in method.takes:
        if each.needed and each.image:
            return f"sample.py {run} --{each.name}=FILE enlarges pictures of {each.shape[0]}x{each.shape[1]} pixels."
    known = row(method.takes, "known")
    if known is not None and known.channels:
        return f"glowdiff edit inpaint {run} --image=FILE --mask=FILE paints in them."
    return f"sample.py {run} draws from it."
