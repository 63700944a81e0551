"""Our own data sets, by the name that `data.name` gives them: a new one is one file and one row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from glowdiff.config.sections import DataConfig
from glowdiff.data import records
from glowdiff.data.folder import prepare as folder
from glowdiff.data.sets import arrays, digits, openmoji, photos
from glowdiff.data.sources import Source
from glowdiff.spec import DataSpec


class Way(NamedTuple):
    """How a data set comes from its files."""

    read: Callable[[DataConfig], tuple[DataSpec, Source, Source]]  # the facts, the training and the test split
    prepare: Callable[[DataConfig], Path] | None = None  # the directory of what is written once; None: nothing is


def _prepared(prepare: Callable[[DataConfig], Path]) -> Way:
    return Way(lambda config: records.read(prepare(config)), prepare)


OWN: dict[str, Way] = {
    "digits": _prepared(digits.prepare),
    "photos": _prepared(photos.prepare),
    "openmoji": _prepared(openmoji.prepare),
    "folder": _prepared(folder.prepare),
    "arrays": Way(arrays.read),
}
