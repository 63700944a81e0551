"""What models are told on the command line beside prompts: classes, and images in files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from glowdiff.cli.flags import Flags, Parsed
from glowdiff.data.folder.files import composed
from glowdiff.diffusion.conditions import FILES
from glowdiff.errors import ConfigError, likely, require
from glowdiff.method import Condition, row
from glowdiff.pictures.inputs import Pictures, from_samples
from glowdiff.spec import DataSpec

ALLOW = "Draw also what is not finite (NaN): black or white."


def add_images(flags: Flags) -> None:
    """Add the flags of the images that models may be told."""
    for name, about in FILES.items():
        flags.add(name, f"{about[0].upper()}{about[1:]}.", shown="FILE")


def read_images(typed: Parsed, takes: Sequence[Condition], spec: DataSpec) -> dict[str, Pictures]:
    """The images of the flags of `add_images`, by condition.

    Args:
      typed: on the command line.
      takes: what the model is told.
      spec: of its data.

    Raises:
      ConfigError: the model takes no such images, or a file does not hold them.
    """
    images = {}
    for name in FILES:
        if name in typed.given:
            each = row(takes, name)
            if each is None:
                raise ConfigError(f"--{name} is given, but {typed.workdir} takes none: it is {FILES[name]}.")
            images[name] = from_samples(getattr(typed, name), spec, each.shape, f"--{name}")
    return images


def check_images(images: Sequence[str], takes: Sequence[Condition], why: str = "") -> None:
    """Raise `ConfigError` for images that a model cannot do without.

    Args:
      images: names of those that are there.
      takes: what the model is told.
      why: what more there is to say of one that is not there.
    """
    for each in takes:
        if each.needed and each.image and each.name not in images:
            size = "x".join(map(str, each.shape[:2]))
            raise ConfigError(
                f"this model needs --{each.name}=FILE: {FILES.get(each.name, 'an image')}, of {size} pixels{why}."
            )


def read_label(text: str, spec: DataSpec) -> int | str:
    """A class by number or name, or "none".

    Args:
      text: as typed.
      spec: of the data whose classes they are.

    Raises:
      ConfigError: there is no such class.
    """
    text = composed(text)  # as names of folders are compared
    if text in spec.classes and not (text.isascii() and text.isdecimal()):
        return spec.classes.index(text)
    if text == "none":
        return text
    if text.isascii() and text.isdecimal():
        return int(text)
    close = likely(text, spec.classes, 3)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    raise ConfigError(f"--label is {text!r}, which is neither a number nor a class of {spec.name}.{hint}")


def read_labels(texts: Sequence[str] | None, takes: Sequence[Condition], spec: DataSpec, n: int) -> np.ndarray | None:
    """The classes of n pictures, int32 [n]; None where none is given.

    Args:
      texts: as typed, one for all or one for each.
      takes: what the model is told.
      spec: of its data.
      n: how many.

    Raises:
      ConfigError: the model takes no labels, there is no such class, or another number of them than n or one.
    """
    if texts is None:
        return None
    label = row(takes, "label")
    if label is None:
        raise ConfigError("--label was given, but this model was not trained with labels (model.class_conditional).")
    require(len(texts) in (1, n), f"--label gives {len(texts)} classes for {n} pictures; give one, or {n}.")
    numbers = [read_label(text, spec) for text in texts]
    for number in numbers:
        require(number != "none" or label.none is not None, "--label is none, but this model is always told a class.")
        require(
            number == "none" or int(number) < label.values,
            f"--label is {number}, which does not exist; this model knows 0 to {label.values - 1}.",
        )
    values = [label.none if number == "none" else number for number in numbers]
    return np.broadcast_to(np.asarray(values, np.int32), (n,))
