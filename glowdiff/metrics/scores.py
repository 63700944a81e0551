"""Figures of a method on its test set: means over the images of what it says of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from glowdiff.method import Method, Variables
from glowdiff.sharding import put_batch, replicated

Scorer = Callable[[Variables, Iterable[Any]], dict[str, float]]
PerImage = Callable[[Variables, jax.Array, Any], dict[str, jax.Array]]  # (variables, key, batch) -> figures [B]


def make_scorer(method: Method, mesh: Mesh) -> Scorer | None:
    """What an evaluation in training measures: the method's scores, else its bits per dimension; None: nothing."""
    if method.scores is not None:
        return mean_scores(method.scores, mesh)
    bits = method.bits_per_dim
    return None if bits is None else mean_scores(lambda *args: {"bits_per_dim": bits(*args)}, mesh)


def mean_scores(per_image: PerImage, mesh: Mesh, seed: int = 0) -> Scorer:
    """A function (variables, test batches) -> means.

    Test batches are those of `glowdiff.data.batches.eval_batches`: rows that only fill a batch are masked out, and an
    image's noise depends on its index alone, so no figure depends on batch size, devices or processes; but those of
    CLIP, which tells an image's caption from the others of the batch, on the batch.
    """

    def total(variables: Variables, batch: Any) -> tuple[dict[str, jax.Array], jax.Array]:
        variables = jax.lax.with_sharding_constraint(variables, replicated(mesh))
        figures = per_image(variables, jax.random.key(seed), batch)
        return {name: jnp.where(batch["mask"], each, 0).sum() for name, each in figures.items()}, batch["mask"].sum()

    run = jax.jit(total, out_shardings=replicated(mesh))

    def evaluate(variables: Variables, batches: Iterable[Any]) -> dict[str, float]:
        # Nothing is fetched until every batch is under way.
        totals = jax.device_get([run(variables, put_batch(batch, mesh)) for batch in batches])
        count = sum(int(count) for _, count in totals)
        return {
            name: float(np.sum([sums[name] for sums, _ in totals], dtype=np.float64)) / count for name in totals[0][0]
        }

    return evaluate


def describe(name: str) -> str:
    """A figure's name in metrics.jsonl, in words.

    >>> describe("test_bits_per_dim"), describe("test_accuracy_clean")
    ('test bits/dim', 'test accuracy clean')
    """
    return name.replace("bits_per_dim", "bits/dim").replace("_", " ")
