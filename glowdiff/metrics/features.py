"""What a feature network sees in any number of images: in batches, over all devices and processes.

Batches are those of `glowdiff.data.batches.eval_batches` or `array_batches`: rows that only fill one are masked out,
so a last short batch is counted once, and nothing depends on the size of batches, on devices or on processes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from glowdiff.errors import ConfigError, require_choice
from glowdiff.method import Features, Variables
from glowdiff.metrics.checks import check_none_lost
from glowdiff.metrics.moments import ROWS, Moments, across_processes, merge, moments_of, none
from glowdiff.sharding import batch_sharding, check_batch, put_batch, replicated

_NO_IMAGES = "there are no images to measure."
Batches = Iterable[Mapping[str, Any]]
Observer = Callable[[Variables, Batches], Iterator["Seen"]]


class Seen(NamedTuple):
    """Features of this process's images of a batch."""

    numbers: np.ndarray  # [n], their positions in the set
    features: dict[str, np.ndarray]  # float32 [n, ...] by name


def array_batches(batch: int, mesh: Mesh, **arrays: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    """This process's rows of batches of arrays that every process has, such as `image=...`; the last one is filled up.

    Raises:
      ConfigError: the devices cannot share a batch evenly.
    """
    check_batch("batch", batch, 1, mesh)
    rows, count = batch // jax.process_count(), len(next(iter(arrays.values())))
    for start in range(0, count, batch):
        index = start + jax.process_index() * rows + np.arange(rows)
        chosen = {name: array[np.minimum(index, count - 1)] for name, array in arrays.items()}
        yield {**chosen, "index": index.astype(np.int32), "mask": index < count}


def observer(network: Features, mesh: Mesh, names: Sequence[str], prepare: str | None = None) -> Observer:
    """A function (variables, batches) -> features of all images, batch by batch; it compiles once.

    Batches are {"image": uint8 [b, H, W, 3], "index", "mask"}, this process's rows.

    Args:
      network: of a `glowdiff.method.Method`.
      mesh: the devices.
      names: of the features.
      prepare: how images become what the network takes; None: the network's first way.

    Raises:
      ConfigError: there is no such way. The function raises it too: there is no such feature; or, after the last batch,
        some features were not finite: their images are counted and named, in all processes alike.
    """
    prepare = next(iter(network.prepare)) if prepare is None else prepare
    require_choice("prepare", prepare, network.prepare)

    def seen(variables: Variables, images: jax.Array) -> dict[str, jax.Array]:
        return network.images(variables, network.prepare[prepare](images))

    return _observer(seen, ("image",), mesh, names)


def reader(network: Features, mesh: Mesh, names: Sequence[str] = ("text",)) -> Observer:
    """As `observer`, of captions, by a network that reads them.

    Batches hold "tokens", int32 [b, L], and "tokens_mask", bool [b, L], in place of images.

    Raises:
      ConfigError: the network reads none.
    """
    if network.texts is None:
        raise ConfigError("this network reads no captions; CLIP does (glowdiff.importers.clip_vit).")
    return _observer(network.texts, ("tokens", "tokens_mask"), mesh, names)


def _observer(
    function: Callable[..., dict[str, jax.Array]], keys: Sequence[str], mesh: Mesh, names: Sequence[str]
) -> Observer:
    """Of what batches hold under `keys`, the arguments of the function behind the variables."""

    def run(variables: Variables, batch: Mapping[str, jax.Array]) -> tuple[dict[str, jax.Array], Any]:
        arguments = (batch[key] for key in keys)
        found = function(jax.lax.with_sharding_constraint(variables, replicated(mesh)), *arguments)
        for name in names:
            require_choice("feature", name, found)
        chosen = {name: found[name] for name in names}
        finite = jnp.stack([jnp.isfinite(a).all(tuple(range(1, a.ndim))) for a in chosen.values()]).all(0)
        return chosen, (jnp.where(batch["mask"] & ~finite, batch["index"], -1), batch["mask"].sum())

    compiled = jax.jit(run, out_shardings=(batch_sharding(mesh), replicated(mesh)))

    def observe(variables: Variables, batches: Batches) -> Iterator[Seen]:
        lost, count = [np.zeros(0, int)], 0
        kept = ({name: np.asarray(batch[name]) for name in (*keys, "index", "mask")} for batch in batches)
        for batch, (features, (wrong, real)) in _one_ahead(
            lambda each: compiled(variables, put_batch(each, mesh)), kept
        ):
            wrong, count = np.asarray(wrong), count + int(real)
            lost.append(wrong[wrong >= 0])
            good = batch["mask"] & ~np.isin(batch["index"], wrong)
            yield Seen(batch["index"][good], {name: _own_rows(array)[good] for name, array in features.items()})
        check_none_lost(np.concatenate(lost), count)

    return observe


def moments(seen: Iterable[Seen], name: str) -> Moments:
    """The moments of one feature of all images of all processes, flattened; every process must call it."""
    return collected(seen, [name]).moments[name]


def gathered(seen: Iterable[Seen]) -> dict[str, np.ndarray]:
    """The features of all images of all processes, [N, ...], in the images' order; every process must call it."""
    first, seen = _peeked(seen)
    return collected(seen, (), tuple(first.features)).features


class Collected(NamedTuple):
    """What one pass over all images leaves."""

    moments: dict[str, Moments]  # by feature, flattened
    features: dict[str, np.ndarray]  # by feature [N, ...], in the images' order


def collected(
    seen: Iterable[Seen],
    streamed: Sequence[str],
    kept: Sequence[str] = (),
    chosen: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Collected:
    """Moments and features of all images of all processes in one pass; every process must call it.

    Args:
      seen: of an `Observer`.
      streamed: the features of which there shall be moments; no image's stay in memory.
      kept: the features that are kept.
      chosen: (numbers [n]) -> bool [n], of which images they are kept; None: of all.

    Raises:
      ConfigError: there are no images.
    """
    running = {name: _Running() for name in streamed}
    numbers, parts = [], {name: [] for name in kept}
    _, seen = _peeked(seen)
    for each in seen:
        for name, total in running.items():
            total.add(each.features[name])
        rows = slice(None) if chosen is None else chosen(each.numbers)
        numbers.append(each.numbers[rows])
        for name, part in parts.items():
            part.append(each.features[name][rows])
    order = np.argsort(_of_all(np.concatenate(numbers)))
    return Collected(
        {name: across_processes(total.moments()) for name, total in running.items()},
        {name: _of_all(np.concatenate(part))[order] for name, part in parts.items()},
    )


class _Running:
    """Moments of rows that come some at a time; they are added when they are many."""

    def __init__(self) -> None:
        self._total: Moments | None = None
        self._waiting: list[np.ndarray] = []

    def add(self, rows: np.ndarray) -> None:
        """Count the rows [n, ...], each flattened."""
        width = math.prod(rows.shape[1:])
        self._total = none(width) if self._total is None else self._total
        self._waiting.append(rows.reshape(len(rows), width))
        if sum(map(len, self._waiting)) >= ROWS:
            self.moments()

    def moments(self) -> Moments:
        """Of all rows so far."""
        assert self._total is not None
        some = [rows for rows in self._waiting if len(rows)]
        self._waiting = []
        if some:
            self._total = merge(self._total, moments_of(np.concatenate(some)))
        return self._total


def _peeked(seen: Iterable[Seen]) -> tuple[Seen, Iterator[Seen]]:
    """The first ones, and all of them; a `ConfigError` if there are none."""
    iterator = iter(seen)
    first = next(iterator, None)
    if first is None:
        raise ConfigError(_NO_IMAGES)
    return first, itertools.chain([first], iterator)


def _one_ahead(run: Callable[[Any], Any], batches: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Batches and what `run` says of them; the next one is under way before this one is fetched."""
    before = None
    for batch in batches:
        now = batch, run(batch)
        if before is not None:
            yield before
        before = now
    if before is not None:
        yield before


def _own_rows(array: jax.Array) -> np.ndarray:
    """This process's rows of an array that is split over the devices."""
    shards = sorted(array.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    return np.concatenate([np.asarray(shard.data) for shard in shards])


def _of_all(rows: np.ndarray) -> np.ndarray:
    """The rows of all processes, one process after the other."""
    if jax.process_count() == 1:
        return rows
    counts = np.asarray(multihost_utils.process_allgather(np.asarray(len(rows), np.int32)))
    padded = np.pad(rows, [(0, int(counts.max()) - len(rows)), *[(0, 0)] * (rows.ndim - 1)])
    gathered = np.asarray(multihost_utils.process_allgather(padded))
    return np.concatenate([part[:count] for part, count in zip(gathered, counts, strict=True)])
