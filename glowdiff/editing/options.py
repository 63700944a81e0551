"""What the commands' flags say, read and checked."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from glowdiff.errors import ConfigError, require
from glowdiff.method import Method
from glowdiff.spec import DataSpec

EVERYWHERE = ("workdir", "out", "step", "ema")
BY_NOISE = ("image", "prompt", "label", "seed", "low_res", "sampler", "steps", "guidance_scale")
PICTURES = ("images", "index", "count", "seed", "label")
TAKES = {  # flags of each command beside those of every command
    "reconstruct": PICTURES,
    "interpolate": (*PICTURES, "steps", "mode"),
    "temperature": ("count", "seed", "label", "temperatures"),
    "attribute": (
        *PICTURES, "attribute", "alpha", "scale", "among", "without", "vector", "recompute", "batch",
    ),
    "inpaint": (*BY_NOISE, "mask", "erase", "count"),
    "sdedit": (*BY_NOISE, "strength"),
}  # fmt: skip


class Request(NamedTuple):
    """A command, and the files that follow `--images FIRST`."""

    command: str
    files: list[str]


def read_request(arguments: Sequence[str], images_given: bool) -> Request:
    """The command that the user asks for, from the arguments that are no flags.

    Raises:
      ConfigError: there is none, or none of that name; or files without `--images`.
    """
    names = ", ".join(TAKES)
    require(bool(arguments), f"which command? The first argument is one of {names}.")
    command, *files = arguments
    if command not in TAKES:
        close = difflib.get_close_matches(command, TAKES, 1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ConfigError(f"there is no command {command!r}; the first argument is one of {names}.{hint}")
    require(not files or images_given, f"what is {' '.join(files)!r}? Picture files are given with --images.")
    return Request(command, files)


def check_flags(command: str, given: set[str]) -> None:
    """Raise `ConfigError` for a flag that the command does not know, or two that contradict each other."""
    for name in sorted(given):
        takes = [f"--{other}" for other in TAKES[command]]
        require(name in (*EVERYWHERE, *TAKES[command]), f"{command} has no --{name}; it takes {', '.join(takes)}.")
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
    require("image" in given or "image" not in TAKES[command], f"{command} needs a picture: --image=FILE.")
    require(
        command != "inpaint" or bool(given & {"mask", "erase"}),
        "which pixels are painted anew? Give --mask=FILE, white where, or --erase=LEFT:TOP:RIGHT:BOTTOM.",
    )
    if command in ("reconstruct", "interpolate", "attribute"):
        require(
            "label" not in given or "images" in given,
            "--label says of which class the --images are; test images have labels of their own.",
        )


def check_images(first: Sequence[str] | None, more: Sequence[str]) -> None:
    """Raise `ConfigError` where `--images`, None if not given, and the arguments that follow it leave a name empty."""
    if first is not None:
        names = [*first, *more]
        require(
            bool(names) and all(names),
            f"--images is {','.join(names)!r}; it must be names of files, such as --images=a.png,b.png.",
        )


def read_range(key: str, text: str) -> list[float]:
    """The numbers that START:STOP:N stands for, both ends among them.

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
    require(count >= 2, f"{key} is {text!r}; at least 2 columns are needed.")
    return np.linspace(start, stop, count).tolist()


def read_columns(text: str | None) -> int:
    """The columns that --steps asks for; 7 unless given.

    Raises:
      ConfigError: it is no number, or too few for both ends.
    """
    if text is None:
        return 7
    require(
        text.isdecimal() and int(text) >= 2, f"--steps is {text!r}; interpolate takes a number of columns, 2 or more."
    )
    return int(text)


def read_strengths(text: str) -> list[float]:
    """The shares of the noise that --strength names: one, several with commas, or START:STOP:N.

    >>> read_strengths("0.2,0.6")
    [0.2, 0.6]
    """
    try:
        values = read_range("--strength", text) if ":" in text else [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"--strength is {text!r}; it must be 0.6, 0.2,0.4,0.6 or START:STOP:N.") from error
    for value in values:
        require(0 < value <= 1, f"--strength is {text!r}; it is the share of the noise, above 0 and at most 1.")
    return values


def check_prompt(prompt: str | None, context: int, labels: int) -> None:
    """Raise `ConfigError` for a prompt that the model does not read: it has `context` tokens, or else `labels`."""
    hint = " It knows classes: --label=CLASS." if labels else ""
    require(prompt is None or context > 0, f"--prompt is given, but this model reads no captions (model.text).{hint}")


def read_one_label(values: Sequence[str] | None, method: Method, spec: DataSpec) -> int | str | None:
    """The class of --label for the one picture that is edited; "none" where the model can do without.

    Raises:
      ConfigError: as for `read_labels`, or a class-conditional model is not told any.
    """
    without = " or --label=none" if method.null_label else ""
    if values == ["none"] and method.null_label:
        return "none"
    labels = read_labels(values, method.labels, spec, 1)
    require(
        labels is not None or not method.labels,
        f"this model is class-conditional: say of which class the picture is, with --label=CLASS{without}.",
    )
    return None if labels is None else int(labels[0])


def read_index(values: Sequence[str]) -> list[int]:
    """The numbers of --index.

    >>> read_index(["3", "17"])
    [3, 17]
    """
    try:
        return [int(value) for value in values]
    except ValueError as error:
        raise ConfigError(f"--index is {','.join(values)!r}; it must be numbers, such as --index=3,17.") from error


def read_labels(values: Sequence[str] | None, labels: int, spec: DataSpec, count: int) -> np.ndarray | None:
    """The classes of --label, numbers or names, int32 [count]; None where it was not given.

    Raises:
      ConfigError: the model takes no labels, there is no such class, or another number of them than `count` or one.
    """
    if values is None:
        return None
    require(labels > 0, "--label was given, but this model was not trained with labels (model.class_conditional).")
    require(
        len(values) in (1, count), f"--label gives {len(values)} classes for {count} pictures; give one, or {count}."
    )
    numbers = [_class(value, labels, spec) for value in values]
    return np.broadcast_to(np.asarray(numbers, np.int32), (count,))


def _class(value: str, labels: int, spec: DataSpec) -> int:
    if value.isdecimal():
        require(int(value) < labels, f"--label is {value}, which does not exist; this model knows 0 to {labels - 1}.")
        return int(value)
    if value not in spec.classes:
        close = difflib.get_close_matches(value, spec.classes, 3)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise ConfigError(f"--label is {value!r}, which is neither a number nor a class of {spec.name}.{hint}")
    return spec.classes.index(value)
