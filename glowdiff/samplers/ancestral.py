"""The sampler of DDPM: draw from p(x_next | x_now), again and again (Ho et al., 2020, algorithm 2)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from glowdiff.samplers.levels import Step, expand
from glowdiff.samplers.posterior import log_variance, posterior_mean, variance
from glowdiff.samplers.prediction import Prediction
from glowdiff.samplers.sampler import Noise, Turn, descending, state_is_x


def plan(grid: Step, dtype: Any) -> Turn:
    """The steps of the grid themselves."""
    steps = descending(grid, dtype)
    return Turn(steps.now, steps)


def step(x: jax.Array, prediction: Prediction, turn: Turn, noise: Noise, eta: jax.Array) -> jax.Array:
    """A draw from p(x_next | x_now), its mean shifted by variance * grad (Dhariwal & Nichol, 2021, algorithm 1)."""
    del eta
    table: Step = turn.coefficients
    mean = posterior_mean(prediction.x_0, x, table)
    if prediction.grad is not None:
        mean = mean + variance(prediction, table) * prediction.grad
    noisy = expand(table.next.sigma > 0, x)  # the last turn ends at data, whatever its variance
    return mean + jnp.where(noisy, jnp.exp(0.5 * log_variance(prediction, table)), 0) * noise()


ancestral = state_is_x(plan, step)
