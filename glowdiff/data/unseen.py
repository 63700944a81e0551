"""Captions that training never sees, to test whether their words, seen in others, are understood together."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np

from glowdiff.data.folder.files import composed
from glowdiff.data.sources import Rows, Source
from glowdiff.errors import ConfigError, likely, require
from glowdiff.spec import DataSpec


def keep_unseen(captions: str, spec: DataSpec, train: Source, test: Source) -> tuple[DataSpec, Source, Source]:
    """The set with the training pictures of some captions moved to the end of the test set.

    Args:
      captions: `data.hold_out`, separated by "|".
      spec: the set's facts, whose sizes will be others.
      train: the training split.
      test: the test split.

    Raises:
      ConfigError: the set has no captions, no training picture has one of `captions`, or all of them do.
    """
    require(
        spec.captions,
        f"data.hold_out is {captions!r}, which are captions to keep out of training, but the images of {spec.name} "
        "have no captions; leave data.hold_out out.",
    )
    train_captions, test_captions = (list(split.captions or ()) for split in (train, test))
    exceptions = _split(captions)
    names = [_plain(caption) for caption in train_captions]
    known = set(names)
    for caption in exceptions:
        if caption not in known:
            raise _unknown(caption, spec.name, known, {_plain(other) for other in test_captions})
    moves = np.array([name in exceptions for name in names])
    require(not moves.all(), f"data.hold_out is {captions!r}, which leaves no picture of {spec.name} to train on.")
    stay, leave = np.flatnonzero(~moves), np.flatnonzero(moves)
    return (
        dataclasses.replace(spec, train_size=len(stay), test_size=len(test) + len(leave)),
        Rows([(train, stay)], _at(train_captions, stay)),
        Rows([(test, np.arange(len(test))), (train, leave)], [*test_captions, *_at(train_captions, leave)]),
    )


def _split(text: str) -> list[str]:
    captions = [_plain(caption) for caption in text.split("|")]
    require(
        all(captions),
        f"data.hold_out is {text!r}, in which a caption is empty; it must be captions separated by |.",
    )
    return captions


def _plain(caption: str) -> str:
    """`caption` without spaces that nobody sees, and composed: é is one character, however it was written."""
    return " ".join(composed(caption).split())


def _at(captions: Sequence[str], rows: np.ndarray) -> list[str]:
    return [captions[int(row)] for row in rows]


def _unknown(caption: str, name: str, trained: Collection[str], tested: Collection[str]) -> ConfigError:
    start = f"data.hold_out has {caption!r}, which is the caption of no training picture of {name}"
    if caption in tested:
        return ConfigError(f"{start}: its pictures are in the test set already, so leave it out.")
    close = likely(caption, trained, most=3)
    if close:
        return ConfigError(f"{start}; did you mean {' or '.join(map(repr, close))}?")
    examples = " or ".join(map(repr, sorted(trained)[:2]))
    return ConfigError(
        f"{start}; captions are whole ones, such as {examples}, separated by |. To keep none from training: "
        "--config.data.hold_out="
    )
