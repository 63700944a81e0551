"""The reverse step p(x_next | x_now): the posterior q(x_next | x_now, x_0) with the predicted data in place of x_0."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from glowdiff.samplers.levels import Step, expand
from glowdiff.samplers.prediction import Prediction


def posterior_mean(x_0: jax.Array, x_t: jax.Array, step: Step) -> jax.Array:
    """The mean of q(x_next | x_now = x_t, x_0) (Ho et al., 2020, eq. 7); with a predicted x_0, that of p."""
    return expand(step.posterior_x_0, x_t) * x_0 + expand(step.posterior_x_t, x_t) * x_t


def log_variance(prediction: Prediction, step: Step) -> jax.Array:
    """The log variance of p(x_next | x_now), of a shape that multiplies x.

    Where the network predicts it, it lies between the posterior's and log beta (Nichol & Dhariwal, 2021, eq. 15).
    """
    if prediction.fraction is None:
        return expand(step.log_variance, prediction.x_0)
    low, high = (expand(end, prediction.x_0) for end in (step.posterior_log_variance, step.log_beta))
    return prediction.fraction * high + (1 - prediction.fraction) * low


def variance(prediction: Prediction, step: Step) -> jax.Array:
    """The variance by which guidance shifts the mean of p (Dhariwal & Nichol, 2021, algorithm 1).

    With `fixed_small` it is 0 in row 0, unlike exp of the log variance, which is clipped there.
    """
    if prediction.fraction is None:
        return expand(step.variance, prediction.x_0)
    return jnp.exp(log_variance(prediction, step))
