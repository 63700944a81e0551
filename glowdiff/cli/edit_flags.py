"""The flags of `glowdiff edit`: which command takes which, and what they say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glowdiff.cli import told
from glowdiff.cli.flags import Flags, Parsed
from glowdiff.cli.paths import check_ending, expanded
from glowdiff.config.numbers import FARTHEST
from glowdiff.config.options import configured
from glowdiff.editing.commands import MODES
from glowdiff.errors import ConfigError, require, shown
from glowdiff.pictures.files import check_cells

STRENGTHS = 20  # of one call
OPTIONS = [each.name for each in configured()]


class Command(NamedTuple):
    """One way to edit."""

    about: str
    usage: str


COMMANDS = {
    "reconstruct": Command("Images, what their latents decode to, and the difference.", "[--index=3,17]"),
    "interpolate": Command("From the first image of each pair to the second.", "[--images a.png b.png] [--steps=7]"),
    "temperature": Command("The same noises at rising temperatures.", "[--count=6] [--temperatures=0:1:6]"),
    "attribute": Command("Images moved along an attribute's vector.", "--attribute=NAME [--alpha=-1:1:7]"),
    "inpaint": Command("A picture, a region of it painted anew.", '--image=a.png --mask=m.png [--prompt="..."]'),
    "sdedit": Command("A picture or a sketch, varied.", '--image=a.png [--strength=0.2,0.6] [--prompt="..."]'),
}


def flags(command: str) -> Flags:
    """What a command takes."""
    about, usage = COMMANDS[command]
    by_noise = command in ("inpaint", "sdedit")
    page = "docs/inpainting.md" if by_noise else "docs/editing.md"
    flags = Flags(f"glowdiff edit {command}", about, page, f"--workdir=DIR {usage}")
    flags.add("workdir", "What `glowdiff train` wrote.", Path, shown="DIR", needed=True)
    flags.add("out", "The picture to write.", Path, default="grid.png")
    if by_noise:
        _add_noise(flags, command)
    elif command != "temperature":
        flags.add("images", "Picture files, or with commas: a.png,b.png. Else test images.", nargs="+", shown="FILE")
        flags.add("index", "Which test images, such as 3,17. Else some.", shown="N,N")
    if command != "sdedit":
        counted = {"interpolate": "pairs of images", "temperature": "noises", "inpaint": "variations"}
        flags.add("count", f"How many {counted.get(command, 'test images')}.", int, default=6, low=1)
    flags.add("label", "The class of the picture, or of each: number or name.", shown="CLASS")
    flags.add("seed", "Another seed, other images or noise.", int, default=0, low=0, high=2**32 - 1)
    flags.add("step", "The checkpoint; else the newest.", int)
    flags.add("ema", "Averaged parameters, or --noema: raw ones.", bool, default=True)
    flags.add("allow_nonfinite", told.ALLOW, bool, default=False)
    if command == "interpolate":
        flags.add("steps", "Columns, both ends among them.", int, default=7, low=2)
        flags.add("mode", f"{' or '.join(MODES)}.", default="linear", choices=tuple(MODES))
    elif command == "temperature":
        flags.add("temperatures", "Columns, START:STOP:N.", default="0:1:6")
    elif command == "attribute":
        _add_attribute(flags)
    elif by_noise:
        flags.add_options(OPTIONS)
        flags.shorten(OPTIONS, "Unless given, as the model was configured: ...")
    return flags


def _add_noise(flags: Flags, command: str) -> None:
    flags.add("image", "The picture.", Path, needed=True)
    if command == "inpaint":
        flags.add("mask", "A picture as large. White is painted anew, black stays.", Path)
        flags.add("erase", "Instead: LEFT:TOP:RIGHT:BOTTOM, shares of the sides.", shown="0:0:1:1")
    else:
        flags.add("strength", "Shares of noise, 0 to 1; also START:STOP:N.", default="0.2,0.4,0.6,0.8")
    flags.add("prompt", "The caption, of models that read any.")
    flags.add("negative_prompt", "What guidance leads away from, in words.")
    told.add_images(flags)


def _add_attribute(flags: Flags) -> None:
    flags.add("attribute", "An attribute, a class's name, or caption:WORD.", shown="NAME")
    flags.add("alpha", "Columns, START:STOP:N.", default="-1:1:7")
    flags.add(
        "scale", "What alpha is multiplied by (Glow's release: 1.6).", float, default=1.0, low=-FARTHEST, high=FARTHEST
    )
    flags.add("among", "Only images with it, for the vector and to edit.", shown="NAME")
    flags.add("without", "Only test images that lack the attribute.", bool, default=False)
    flags.add("vector", "A vector's file, not the one in the workdir.", Path)
    flags.add("recompute", "Compute the vector anew.", bool, default=False)
    flags.add("batch", "Images at a time for the vector.", int, default=64, low=1)


def check(command: str, typed: Parsed) -> None:
    """Raise `ConfigError` for flags that contradict each other, or what is missing."""
    given = typed.given
    check_ending("--out", typed.out, ".png")
    for first, others, why in (
        ("images", ("index", "count", "seed", "without"), "which chooses test images"),
        ("index", ("count", "seed", "without"), "which chooses test images otherwise"),
        ("vector", ("recompute", "batch"), "which is about computing one"),
        ("mask", ("erase",), "which also says what is painted anew"),
    ):
        for other in others:
            require(not {first, other} <= given, f"--{first} was given, and --{other}, {why}: leave one of them out.")
    require(
        not {"vector", "among"} <= given or not given & {"images", "index"},
        "--among says of which images the vector is made and which test images are moved; with --vector and --images "
        "or --index both are given: leave --among out.",
    )
    if command == "attribute":
        require(bool(given & {"attribute", "vector"}), "which attribute? Give --attribute, or --vector=FILE.")
        require("without" not in given or "attribute" in given, "--without needs --attribute: it says what to lack.")
    require(
        command != "inpaint" or bool(given & {"mask", "erase"}),
        "which pixels are painted anew? Give --mask=FILE, white where, or --erase=LEFT:TOP:RIGHT:BOTTOM.",
    )
    if command in ("reconstruct", "interpolate", "attribute"):
        require(
            "label" not in given or "images" in given,
            "--label says of which class the --images are; test images have labels of their own.",
        )


def read_files(words: Sequence[str] | None) -> list[str]:
    """The files of `--images`, one after the other or with commas.

    Raises:
      ConfigError: a name is empty.
    """
    if words is None:
        return []
    names = words[0].split(",") if len(words) == 1 and not Path(words[0]).is_file() else list(words)
    require(all(names), f"--images is {','.join(names)!r}; it must be names of files, such as --images=a.png,b.png.")
    return [expanded("--images", name) for name in names]


def read_range(key: str, text: str, most: float = FARTHEST) -> list[float]:
    """The numbers that START:STOP:N stands for, both ends among them.

    Args:
      key: the flag, for messages.
      text: as typed.
      most: that a number may be, of either sign.

    >>> read_range("--alpha", "-1:1:5")
    [-1.0, -0.5, 0.0, 0.5, 1.0]
    """
    message = f"{key} is {text!r}; it must be START:STOP:N, such as 0:1:6 for 0, 0.2, ... 1."
    parts = text.split(":")
    require(len(parts) == 3, message)
    try:
        start, stop, count = float(parts[0]), float(parts[1]), int(parts[2])
    except ValueError as error:
        raise ConfigError(message) from error
    require(bool(np.isfinite([start, stop]).all()), message)
    require(max(abs(start), abs(stop)) <= most, f"{key} is {text!r}; it may go as far as {most}, not farther.")
    require(count >= 2, f"{key} is {text!r}; at least 2 columns are needed.")
    check_cells(f"{key} is {text!r}", count)
    return np.linspace(start, stop, count).tolist()


def read_strengths(text: str) -> list[float]:
    """The shares of the noise that --strength names: one, several with commas, or START:STOP:N.

    >>> read_strengths("0.2,0.6")
    [0.2, 0.6]
    """
    try:
        values = read_range("--strength", text) if ":" in text else [float(part) for part in text.split(",")]
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"--strength is {text!r}; it must be 0.6, 0.2,0.4,0.6 or START:STOP:N.") from error
    for value in values:
        require(0 < value <= 1, f"--strength is {text!r}; it is the share of the noise, above 0 and at most 1.")
    require(
        len(values) <= STRENGTHS,
        f"--strength is {shown(text)}, which are {len(values):,} of them; at most {STRENGTHS} are varied at once, for "
        "each compiles a program of its own.",
    )
    return values


def read_index(text: str) -> list[int]:
    """The numbers of --index.

    >>> read_index("3,17")
    [3, 17]
    """
    try:
        return [int(value) for value in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"--index is {text!r}; it must be numbers, such as --index=3,17.") from error
