"""`glowdiff import SYSTEM`: a workdir of published weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glowdiff.catalog.methods import build_method
from glowdiff.cli import import_autoencoder, import_sd
from glowdiff.cli.flags import HELP, Flags, Parsed
from glowdiff.cli.main import command
from glowdiff.cli.paths import check_folder
from glowdiff.cli.words import first_word, overview
from glowdiff.errors import printable, require
from glowdiff.importers import flags as originals
from glowdiff.importers.adm import ADM
from glowdiff.importers.clip import CLIP
from glowdiff.importers.clip_vit import CLIP_VIT
from glowdiff.importers.dinov2 import DINOV2
from glowdiff.importers.efficientnet import EFFICIENTNET
from glowdiff.importers.family import DTYPES, Family, Request, import_release
from glowdiff.importers.glide import GLIDE
from glowdiff.importers.glow import GLOW
from glowdiff.importers.inception import INCEPTION
from glowdiff.importers.lpips import LPIPS
from glowdiff.method import context, row
from glowdiff.workdir import description

FAMILIES = {
    family.name: family for family in (GLOW, ADM, GLIDE, CLIP, INCEPTION, CLIP_VIT, DINOV2, EFFICIENTNET, LPIPS)
}

ALONE = {each.NAME: each for each in (import_sd, import_autoencoder)}  # what follows from names and shapes, not flags


def flags(family: Family) -> Flags:
    """What the command takes for a system."""
    flags = Flags(
        f"glowdiff import {family.name}", f"Imports {family.help}.",
        "docs/metrics.md" if family.measures else "docs/importing.md",
        " ".join([*(f"--{file.flag}=FILE" for file in family.files), "--workdir=DIR ..."]),
    )  # fmt: skip
    for file in family.files:
        elsewhere = "; default: the one in its package" if family.packaged else ""
        flags.add(file.flag, _sentence(file.help + elsewhere), Path, needed=not family.packaged)
    flags.add("workdir", "Where to write; must be empty or not there.", Path, shown="DIR", needed=True)
    if family.releases:
        names = ", ".join(list(family.releases)[:4]) + (" ..." if len(family.releases) > 4 else "")
        flags.add("preset", _sentence(f"its name, if it is a release: {names}"), shown="NAME")
    about = f"{'otherwise: ' if family.releases else ''}{family.flags}"
    flags.add("flags", _sentence(about), needed=not (family.releases or family.complete))
    if family.tokenizer:
        flags.add("vocab", _sentence(family.vocabulary), Path)
    if family.measures:
        return flags
    flags.add("dtype", f"Of the arithmetic: {' or '.join(DTYPES)}.", default="float32", choices=DTYPES)
    flags.add("data", "A data set's name, an .npz file or a folder; else after the flags.", shown="NAME")
    flags.add("batch", "Images per step, to train on; else as published.", int, low=1)
    return flags


@command
def main(arguments: Sequence[str]) -> None:
    """Parse, and call the package."""
    if arguments and arguments[0] in HELP:
        print(help_text())
        return
    system = first_word(arguments, "system", {**FAMILIES, **ALONE})
    if system in ALONE:
        ALONE[system].run(arguments[1:])
        return
    family = FAMILIES[system]
    typed = flags(family).parse(arguments[1:])
    check_folder("--workdir", typed.workdir)
    release, values = _flags(family, typed)
    named = {file.flag: getattr(typed, file.flag) for file in family.files}
    files = {flag: Path(path) if path or not family.packaged else family.packaged() for flag, path in named.items()}
    vocabulary = Path(typed.vocab) if family.tokenizer and typed.vocab else None
    request = Request(release, vocabulary=vocabulary)
    if not family.measures:
        request = request._replace(data=typed.data, batch=typed.batch or 0, dtype=typed.dtype)
    ready = import_release(family, files, values, typed.workdir, request)
    print(printable(f"{typed.workdir} holds the model; {_use(typed.workdir)}"))
    if family.unpublished and not request.data:
        print(family.unpublished.format(workdir=typed.workdir))
    elif not ready:
        print("Its data set is not on this machine: to train on, prepare it first and import again.")


def help_text() -> str:
    """What there is."""
    return overview(
        "glowdiff import SYSTEM --weights=FILE ... --workdir=DIR",
        "Makes a workdir of published weights. See docs/importing.md.",
        {name: family.help for name, family in FAMILIES.items()} | {name: each.ABOUT for name, each in ALONE.items()},
        "Each system has --help.",
    )


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _flags(family: Family, typed: Parsed) -> tuple[str | None, dict[str, Any]]:
    """The name of the release, if one is given, and the flags of the original."""
    preset = typed.preset if family.releases else None
    if family.releases:
        require(
            (preset is None) != (typed.flags is None),
            "give either --preset, the name of a release, or --flags, those of the original's training: "
            + ("both were given." if preset else "neither was given."),
        )
    if preset is not None:
        return preset.removesuffix(".pt"), originals.release(preset, family.releases, "--preset")
    return None, originals.read(typed.flags, family.releases) if typed.flags else {}


def _use(workdir: str) -> str:
    """What to do with a workdir."""
    config, spec = description.read(workdir)
    method = build_method(config, spec)
    if method.features is not None and method.features.distance is not None:
        return f"model.perceptual={workdir} trains autoencoders on it."
    if method.guides is not None:
        return f"sample.py --{config.method}={workdir} guides with it."
    if method.features is not None:
        return f"evaluate.py --metrics=... --features={workdir} measures samples with it."
    run = f"--workdir={workdir}" + (' --prompt="..."' if context(method.takes) else "")
    for each in method.takes:
        if each.needed and each.image:
            size = "x".join(map(str, each.shape[:2]))
            return f"sample.py {run} --{each.name}=FILE enlarges pictures of {size} pixels."
    known = row(method.takes, "known")
    if known is not None and known.channels:
        return f"glowdiff edit inpaint {run} --image=FILE --mask=FILE paints in them."
    return f"sample.py {run} draws from it."
