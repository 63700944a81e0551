"""Data sets by name.

What reads and prepares them is imported where it is needed: a model, or a benchmark on random images, needs no TFDS.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from glowdiff.config.schema import ConfigError, DataConfig
from glowdiff.data.prepared import data_dir
from glowdiff.data.sources import Source
from glowdiff.data.spec import DataSpec
from glowdiff.data.unseen import keep_unseen


class Dataset(NamedTuple):
    """A data set that is ready to be read."""

    spec: DataSpec
    train: Source
    test: Source


def load(config: DataConfig) -> Dataset:
    """Return the data set that `config` names, prepared first where it has never been used.

    Raises:
        ConfigError: for an unknown name, for data that cannot be read, or values of `config` that do not suit them.
    """
    config.check()
    dataset = Dataset(*_load(config))
    height, width, _ = dataset.spec.shape
    if config.size is not None and (height, width) != (config.size, config.size):
        raise ConfigError(
            f"data.size is {config.size}, but the images of {config.name} are {height}x{width} pixels and are kept "
            "as they are; leave data.size out."
        )
    return Dataset(*keep_unseen(config.hold_out, *dataset)) if config.hold_out else dataset


def _load(config: DataConfig) -> tuple[DataSpec, Source, Source]:
    from glowdiff.data import arrays, records, stock

    if config.name == "arrays":
        return arrays.read(Path(config.path or ""), config.test_fraction)
    if config.name in ("digits", "photos", "openmoji", "folder"):
        return records.read(prepare(config))
    return stock.read(config)


def prepare(config: DataConfig) -> Path:
    """Return the directory of the prepared set that `config` names, prepared now where it is not yet.

    Raises:
        ConfigError: as for `load`.
    """
    if config.name == "arrays":
        raise ConfigError("data.name is 'arrays', which is read as it is: there is nothing to prepare.")
    from glowdiff.data import digits, folder, openmoji, photos, stock

    if config.name == "digits":
        return digits.prepare(data_dir(config.dir))
    if config.name == "photos":
        return photos.prepare(data_dir(config.dir), config.size)
    if config.name == "openmoji":
        return openmoji.prepare(data_dir(config.dir), config.size, config.background)
    if config.name == "folder":
        return folder.prepare(data_dir(config.dir), config)
    return stock.prepare(config)


def is_ready(config: DataConfig) -> bool:
    """Whether `load` would read what is on this machine, and download nothing.

    Raises:
        ConfigError: for an unknown name.
    """
    from glowdiff.data import stock

    return config.name in stock.OWN or stock.is_prepared(config)
