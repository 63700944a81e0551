"""The exact negative log-likelihood of a test set (or its bound), in bits per dimension."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from jax.sharding import Mesh

from glowdiff.config.options import SampleOptions
from glowdiff.method import Method, Variables
from glowdiff.metrics.scores import mean_scores

BOUND = ("steps", "spacing")  # the options of samples that a bound depends on
Evaluator = Callable[[Variables, Iterable[Any]], float]


def make_evaluator(method: Method, mesh: Mesh, seed: int = 0, options: SampleOptions | None = None) -> Evaluator:
    """A function (variables, test batches) -> mean bits per dimension, see `glowdiff.metrics.scores.mean_scores`.

    Args:
      method: exact, or with a bound.
      mesh: the devices.
      seed: of the noise.
      options: of diffusion models: the bound over the steps of these; None: over all timesteps.

    Raises:
      ValueError: the method has no likelihood.
    """
    if method.bits_per_dim is None:
        raise ValueError("this method has no likelihood.")
    bits_per_dim = method.bits_per_dim
    more = () if options is None else (options,)
    evaluate = mean_scores(lambda *args: {"bits_per_dim": bits_per_dim(*args, *more)}, mesh, seed)
    return lambda variables, batches: evaluate(variables, batches)["bits_per_dim"]
