"""The exact negative log-likelihood of a test set (or its bound), in bits per dimension."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from glowdiff.method import Method, Variables
from glowdiff.sharding import put_batch, replicated

Evaluator = Callable[[Variables, Iterable[Any]], float]


def make_evaluator(method: Method, mesh: Mesh, seed: int = 0) -> Evaluator:
    """A function (variables, test batches) -> mean bits per dimension.

    Test batches are those of `glowdiff.data.test_batches`: rows that only fill a batch are masked out, and an image's
    dequantisation noise depends on its index alone, so the figure does not depend on batch size, devices or processes.

    Raises:
      ValueError: the method has no likelihood.
    """
    if method.bits_per_dim is None:
        raise ValueError("this method has no likelihood.")
    bits_per_dim = method.bits_per_dim

    def total(variables: Variables, batch: Any) -> tuple[jax.Array, jax.Array]:
        variables = jax.lax.with_sharding_constraint(variables, replicated(mesh))
        bits = bits_per_dim(variables, jax.random.key(seed), batch)
        return jnp.where(batch["mask"], bits, 0).sum(), batch["mask"].sum()

    run = jax.jit(total, out_shardings=replicated(mesh))

    def evaluate(variables: Variables, batches: Iterable[Any]) -> float:
        # Nothing is fetched until every batch is under way.
        totals = [run(variables, put_batch(batch, mesh)) for batch in batches]
        sums, counts = np.asarray(jax.device_get(totals), np.float64).T
        return float(sums.sum() / counts.sum())

    return evaluate
