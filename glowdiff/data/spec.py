"""What a data set is, to everything that does not read it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DataSpec:
    """The facts about a data set that shape a model; kept in a workdir's `config.json`."""

    name: str
    shape: tuple[int, int, int]  # height, width, channels
    levels: int  # pixel values are integers 0 ... levels - 1
    train_size: int
    test_size: int
    classes: tuple[str, ...] = ()  # names of the labels, in order; empty: no labels
