"""What a feature network sees in any number of images: in batches, over all devices and processes.

Batches are those of `glowdiff.data.batches.eval_batches` or `image_batches`: rows that only fill one are masked out,
so a last short batch is counted once, and nothing depends on the size of batches, on devices or on processes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from glowdiff.errors import ConfigError, require, require_choice
from glowdiff.method import Features, Variables
from glowdiff.metrics.moments import ROWS, Moments, across_processes, merge, moments_of, none
from glowdiff.sharding import batch_sharding, check_batch, put_batch, replicated

_SHOWN = 8  # numbers of images in a message
_NO_IMAGES = "there are no images to measure."


class Seen(NamedTuple):
    """Features of this process's images of a batch."""

    numbers: np.ndarray  # [n], their positions in the set
    features: dict[str, np.ndarray]  # float32 [n, ...] by name


def image_batches(images: np.ndarray, batch: int, mesh: Mesh) -> Iterator[dict[str, np.ndarray]]:
    """This process's rows of batches of all images, [N, H, W, 3] in every process; the last batch is filled up.

    Raises:
      ConfigError: the devices cannot share a batch evenly.
    """
    check_batch("batch", batch, 1, mesh)
    rows = batch // jax.process_count()
    for start in range(0, len(images), batch):
        index = start + jax.process_index() * rows + np.arange(rows)
        chosen = np.stack([images[min(i, len(images) - 1)] for i in index])
        yield {"image": chosen, "index": index.astype(np.int32), "mask": index < len(images)}


def see(
    network: Features,
    variables: Variables,
    batches: Iterable[Mapping[str, Any]],
    mesh: Mesh,
    names: Sequence[str],
    prepare: str | None = None,
) -> Iterator[Seen]:
    """The features of all images, batch by batch.

    Args:
      network: of a `glowdiff.method.Method`.
      variables: of the network.
      batches: {"image": uint8 [b, H, W, 3], "index", "mask"}, this process's rows.
      mesh: the devices.
      names: of the features.
      prepare: how images become what the network takes; None: the network's first way.

    Raises:
      ConfigError: there is no such way or feature; and, after the last batch, some features were not finite: their
        images are counted and named, in all processes alike.
    """
    prepare = next(iter(network.prepare)) if prepare is None else prepare
    require_choice("prepare", prepare, network.prepare)

    def run(variables: Variables, batch: Mapping[str, jax.Array]) -> tuple[dict[str, jax.Array], jax.Array]:
        variables = jax.lax.with_sharding_constraint(variables, replicated(mesh))
        found = network.images(variables, network.prepare[prepare](batch["image"]))
        for name in names:
            require_choice("feature", name, found)
        chosen = {name: found[name] for name in names}
        finite = jnp.stack([jnp.isfinite(a).all(tuple(range(1, a.ndim))) for a in chosen.values()]).all(0)
        return chosen, jnp.where(batch["mask"] & ~finite, batch["index"], -1)

    compiled = jax.jit(run, out_shardings=(batch_sharding(mesh), replicated(mesh)))
    bad: list[np.ndarray] = []
    for batch, (features, wrong) in _one_ahead(compiled, variables, batches, mesh):
        wrong = np.asarray(wrong)
        bad.append(wrong[wrong >= 0])
        good = np.asarray(batch["mask"]) & ~np.isin(batch["index"], wrong)
        yield Seen(batch["index"][good], {name: _own_rows(array)[good] for name, array in features.items()})
    found = np.sort(np.concatenate([np.zeros(0, int), *bad]))
    listed = ", ".join(map(str, found[:_SHOWN])) + (" ..." if len(found) > _SHOWN else "")
    require(
        len(found) == 0,
        f"features of {len(found):,} image{'s' * (len(found) != 1)} are not finite (NaN or infinity), numbers {listed} "
        "counted from 0. Nothing can be measured with them; are the network's weights damaged?",
    )


def moments(seen: Iterable[Seen], name: str) -> Moments:
    """The moments of one feature of all images of all processes, flattened; every process must call it."""
    total, waiting = None, []
    for each in seen:
        rows = each.features[name]
        width = math.prod(rows.shape[1:])
        total = none(width) if total is None else total
        waiting.append(rows.reshape(len(rows), width))
        if sum(map(len, waiting)) >= ROWS:
            total, waiting = _added(total, waiting), []
    if total is None:
        raise ConfigError(_NO_IMAGES)
    return across_processes(_added(total, waiting))


def gathered(seen: Iterable[Seen]) -> dict[str, np.ndarray]:
    """The features of all images of all processes, [N, ...], in the images' order; every process must call it."""
    parts = list(seen)
    require(bool(parts), _NO_IMAGES)
    index = _of_all(np.concatenate([each.numbers for each in parts]))
    order = np.argsort(index)
    names = parts[0].features
    return {name: _of_all(np.concatenate([each.features[name] for each in parts]))[order] for name in names}


def _added(total: Moments, waiting: list[np.ndarray]) -> Moments:
    some = [rows for rows in waiting if len(rows)]
    return merge(total, moments_of(np.concatenate(some))) if some else total


def _one_ahead(run: Any, variables: Variables, batches: Iterable[Any], mesh: Mesh) -> Iterator[tuple[Any, Any]]:
    """Batches and what `run` says of them; the next one is under way before this one is fetched."""
    before = None
    for batch in batches:
        kept = {name: batch[name] for name in ("image", "index", "mask")}
        found = run(variables, put_batch(kept, mesh))
        if before is not None:
            yield before
        before = batch, found
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
