"""Data sets by name.

What reads and prepares them is imported where it is needed: a model, or a benchmark on random images, needs no TFDS.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from glowdiff.config.sections import DataConfig
from glowdiff.data.latents import Latents
from glowdiff.data.sources import Source
from glowdiff.data.unseen import keep_unseen
from glowdiff.errors import ConfigError, require
from glowdiff.spec import DataSpec

if TYPE_CHECKING:
    from glowdiff.data.sets.table import Way


class Dataset(NamedTuple):
    """A data set that is ready to be read."""

    spec: DataSpec
    train: Source
    test: Source


def load(config: DataConfig) -> Dataset:
    """The data set that `config` names, prepared first where it has never been used.

    Raises:
      ConfigError: for an unknown name, for data that cannot be read, or values of `config` that do not suit them.
    """
    config.check()
    dataset = Dataset(*_way(config).read(config))
    height, width, _ = dataset.spec.shape
    if config.size is not None and (height, width) != (config.size, config.size):
        raise ConfigError(
            f"data.size is {config.size}, but the images of {config.name} are {height}x{width} pixels and are kept "
            "as they are; leave data.size out."
        )
    return Dataset(*keep_unseen(config.hold_out, *dataset)) if config.hold_out else dataset


def with_latents(dataset: Dataset, config: DataConfig) -> Dataset:
    """The data set with prepared latents in place of training images, where `config` names any.

    Raises:
      ConfigError: they are of other images, or cannot be read.
    """
    if config.latents is None:
        return dataset
    kept = Latents(config.latents, config)
    require(
        len(kept) == len(dataset.train),
        f"data.latents is {config.latents}, which holds {len(kept):,} images; {config.name} has {len(dataset.train):,} "
        "to train on. Prepare them anew.",
    )
    return dataset._replace(train=kept)


def prepare(config: DataConfig) -> Path:
    """The directory of the prepared set that `config` names, prepared now where it is not yet.

    Raises:
      ConfigError: as for `load`.
    """
    way = _way(config)
    if way.prepare is None:
        raise ConfigError(f"data.name is {config.name!r}, which is read as it is: there is nothing to prepare.")
    return way.prepare(config)


def is_ready(config: DataConfig) -> bool:
    """Whether `load` would read what is on this machine, and download nothing.

    Raises:
      ConfigError: for an unknown name.
    """
    from glowdiff.data.sets import stock, table

    return config.name in table.OWN or stock.is_prepared(config)


def _way(config: DataConfig) -> Way:
    from glowdiff.data.sets import stock, table

    return table.OWN.get(config.name, table.Way(stock.read, stock.prepare))
