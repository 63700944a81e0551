"""Captions that training never sees, to test whether their words, seen in others, are understood together."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np

from glowdiff.data.sources import Rows, Source
from glowdiff.errors import ConfigError, likely, require
from glowdiff.spec import DataSpec


def keep_unseen(captions: str, spec: DataSpec, train: Source, test: Source) -> tuple[DataSpec, Source, Source]:
    """Return the set with the training pictures of some captions moved to the end of the test set.

    Args:
        captions: `data.hold_out`, separated by "|".
        spec: the set's facts, whose sizes will be others.
        train: the training split.
        test: the test split.

    Raises:
        ConfigError: when the set has no captions, no training picture has one of `captions`, or all of them do.
    """
    require(
        spec.captions,
        f"data.hold_out is {captions!r}, which are captions to keep out of training, but the images of {spec.name} "
        "have no captions; leave data.hold_out out.",
    )
    trained, tested = (list(split.captions or ()) for split in (train, test))
    wanted = _wanted(captions)
    names = [_plain(caption) for caption in trained]
    known = set(names)
    for caption in wanted:
        if caption not in known:
            raise _unknown(caption, spec.name, known, {_plain(one) for one in tested})
    moved = np.array([name in wanted for name in names])
    require(not moved.all(), f"data.hold_out is {captions!r}, which leaves no picture of {spec.name} to train on.")
    kept, held = np.flatnonzero(~moved), np.flatnonzero(moved)
    return (
        dataclasses.replace(spec, train_size=len(kept), test_size=len(test) + len(held)),
        Rows([(train, kept)], _at(trained, kept)),
        Rows([(test, np.arange(len(test))), (train, held)], [*tested, *_at(trained, held)]),
    )


def _wanted(captions: str) -> list[str]:
    wanted = [_plain(caption) for caption in captions.split("|")]
    require(
        all(wanted),
        f"data.hold_out is {captions!r}, in which a caption is empty; it must be captions separated by |.",
    )
    return wanted


def _plain(caption: str) -> str:
    """Return `caption` without spaces that nobody sees."""
    return " ".join(caption.split())


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
