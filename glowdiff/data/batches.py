"""Batches of a data set: endless shuffled ones to train on, and the test set once, in order.

Every process computes the same global order and takes its own rows of each global batch, so that the global batch
(the processes' rows, one process after the other) does not depend on the number of processes. Images of other
processes are not even read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Self, TypedDict, cast

import grain
import numpy as np

from glowdiff.config.sections import DataConfig
from glowdiff.data.augment import Augment
from glowdiff.data.dataset import Dataset
from glowdiff.data.sources import Source
from glowdiff.errors import ConfigError
from glowdiff.spec import DataSpec

_AHEAD = 16  # batches read ahead at most,
_AHEAD_BYTES = 2**28  # and bytes
_THREADS = 4
_TRAINING, _INITIAL = 0, 1  # streams of randomness, so that equal seeds do not give equal orders


class Batch(TypedDict):
    """Examples to train on."""

    image: np.ndarray  # uint8 [b, H, W, C]; where latents were prepared `latents` [b, h, w, C] instead
    # "label": int32 [b], of sets with labels; "tokens": int32 [b, L] and "mask": bool [b, L], of `captions.with_tokens`
    cond: dict[str, np.ndarray]


class EvalBatch(Batch):
    """Examples to test on, the last ones filled up."""

    index: np.ndarray  # int32 [b], position in the test set; rows that fill up continue the count
    mask: np.ndarray  # bool [b], False for rows that fill up


class TrainIterator:
    """Endless training batches of one process, whose position can be saved and restored."""

    def __init__(self, batches: grain.IterDataset, batch: int) -> None:
        """Iterate over `batches`, the process's share of global batches of `batch` images."""
        self._iterator: grain.DatasetIterator = iter(batches)
        self._batch = batch

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        return next(self._iterator)

    def position(self) -> dict[str, int]:
        """Where the next batch starts, to be saved as JSON; the same in all processes."""
        return {"next_image": self._iterator.get_state()["next_index"] * self._batch}

    def restore(self, position: dict[str, int]) -> None:
        """Continue at `position`, of any iterator with the same data, seed and global batch.

        Raises:
          ConfigError: no batch starts there, because the global batch has changed.
        """
        batches, rest = divmod(position["next_image"], self._batch)
        if rest:
            raise ConfigError(
                f"train.batch is {self._batch}, but the data were left at image {position['next_image']:,}, "
                "where no batch of that size starts; use the batch size of the run that is resumed."
            )
        self._iterator.set_state({"next_index": batches})

    def close(self) -> None:
        """Stop reading ahead."""
        self._iterator.close()


class _ProcessRows(grain.MapDataset[Any]):
    """The rows of every global batch that belong to one process."""

    def __init__(self, examples: grain.MapDataset[Any], batch: int, process_index: int, process_count: int) -> None:
        super().__init__(examples)
        self._examples = examples
        self._batch = batch
        self._rows = batch // process_count
        self._first = process_index * self._rows

    def __len__(self) -> int:
        return len(self._examples) // self._batch * self._rows

    def __getitem__(self, index: int) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        step, row = divmod(index, self._rows)
        return self._examples[step * self._batch + self._first + row]


class _Pictures:
    """A split's images and conditions. Attributes, and captions as words, are not for models: these read tokens."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Batch:
        example = self._source[index]
        return cast(Batch, {name: example[name] for name in ("image", "latents", "cond") if name in example})


class _InOrder:
    """The test set with positions, filled up to whole batches by its last image."""

    def __init__(self, source: _Pictures, count: int, batch: int) -> None:
        self._source = source
        self._count = count
        self._padded = -(-count // batch) * batch

    def __len__(self) -> int:
        return self._padded

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self._source[min(index, self._count - 1)]
        return {**example, "index": np.asarray(index, np.int32), "mask": np.asarray(index < self._count)}


def train_batches(
    dataset: Dataset,
    config: DataConfig,
    *,
    batch: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
) -> TrainIterator:
    """The endless training batches of this process, read ahead by threads.

    Each epoch has an order of its own; a batch may span two epochs. The randomness of an image's augmentation depends
    on `seed` and its place in the global order only.

    Args:
      dataset: of `load`.
      config: says how images are augmented.
      batch: global batch size; every process yields `batch // process_count` rows of it.
      seed: of order and augmentation.
      process_index: this process's number.
      process_count: the number of processes.

    Raises:
      ConfigError: the batch is larger than the training set or does not divide among the processes, or images
        are shifted by more than their size.
    """
    if batch > len(dataset.train):
        raise ConfigError(
            f"train.batch is {batch}, but the training set of {dataset.spec.name} has only {len(dataset.train)} "
            "images; lower train.batch."
        )
    _require_divisible("train.batch", batch, process_count)
    examples = _shuffled(dataset, config, _stream(seed, _TRAINING))
    rows = _ProcessRows(examples, batch, process_index, process_count)
    return TrainIterator(_batched(rows, batch // process_count, dataset.spec), batch)


def init_batch(dataset: Dataset, config: DataConfig, *, images: int, seed: int) -> Batch:
    """One global batch for data-dependent initialisation: image uint8 [images, H, W, C] and all of cond.

    It is augmented as in training but drawn from an order of its own, so training itself starts at its first batch.
    A set smaller than `images` is repeated.
    """
    batches = _shuffled(dataset, config, _stream(seed, _INITIAL)).batch(images, drop_remainder=True)
    return cast(Batch, batches[0])


def eval_batches(
    dataset: Dataset,
    *,
    batch: int,
    limit: int | None = None,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[EvalBatch]:
    """This process's share of the test set: every image once, in a fixed order, in batches of one shape.

    The last batch is filled up with copies of the last image; their `mask` is False.

    Args:
      dataset: of `load`.
      batch: global batch size.
      limit: only this many images, the first ones; None: all.
      process_index: this process's number.
      process_count: the number of processes.

    Raises:
      ConfigError: the batch does not divide among the processes.
    """
    _require_divisible("eval.batch", batch, process_count)
    count = len(dataset.test) if limit is None else min(limit, len(dataset.test))
    examples = grain.MapDataset.source(_InOrder(_Pictures(dataset.test), count, batch))
    rows = _ProcessRows(examples, batch, process_index, process_count)
    return iter(_batched(rows, batch // process_count, dataset.spec))


def _shuffled(dataset: Dataset, config: DataConfig, seed: int) -> grain.MapDataset[Any]:
    """The endless global sequence of augmented training images."""
    height, width, _ = dataset.spec.shape
    if config.shift >= min(height, width):
        raise ConfigError(f"data.shift is {config.shift}, but the images are {height}x{width} pixels.")
    examples = grain.MapDataset.source(_Pictures(dataset.train)).seed(seed).shuffle().repeat()
    if config.flip or config.shift:
        examples = examples.random_map(Augment(flip=config.flip, shift=config.shift))
    return examples


def _batched(examples: grain.MapDataset, rows: int, spec: DataSpec) -> grain.IterDataset:
    """Batches of `rows` examples, read ahead by threads as far as memory allows."""
    ahead = max(2, min(_AHEAD, _AHEAD_BYTES // (rows * math.prod(spec.shape))))
    reading = grain.ReadOptions(num_threads=min(_THREADS, ahead), prefetch_buffer_size=ahead)
    return examples.batch(rows, drop_remainder=True).to_iter_dataset(reading)


def _stream(seed: int, stream: int) -> int:
    """A seed of 32 bits, which is all that Grain takes, for one use of the configuration's `seed`."""
    return int(np.random.SeedSequence([seed, stream]).generate_state(1)[0])


def _require_divisible(key: str, batch: int, process_count: int) -> None:
    if batch % process_count:
        raise ConfigError(f"{key} is {batch}, which {process_count} processes cannot share equally.")
