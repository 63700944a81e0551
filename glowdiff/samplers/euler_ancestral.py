"""Euler's method with noise, "Euler a" (Crowson's k-diffusion): a step of the ODE past the next level, and noise back.

To lead from ratio s = sigma / alpha to s', it walks to sqrt(s'^2 - up^2) with up^2 = s'^2 (s^2 - s'^2) / s^2 and adds
noise of deviation up. Not scaled by 1 / alpha, as all samplers here, that is DDIM with all its noise (eta = 1) from
exact tables, and so the ancestral sampler with the posterior's variance.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from glowdiff.samplers.levels import Array, Step, expand
from glowdiff.samplers.prediction import Prediction, shifted
from glowdiff.samplers.sampler import Noise, Turn, descending, state_is_x


class Coefficients(NamedTuple):
    """x_next = x_0 * (predicted data) + eps * (predicted noise) + noise * N(0, 1)."""

    x_0: Array
    eps: Array
    noise: Array


def plan(grid: Step, dtype: Any) -> Turn:
    """Walk and noise of each step."""
    # s' / s, which is 0 from a level without data.
    kept = grid.next.sigma * grid.now.alpha / (grid.next.alpha * grid.now.sigma)
    table = Coefficients(grid.next.alpha, grid.next.sigma * kept, grid.next.sigma * np.sqrt(1 - kept**2))
    return Turn(descending(grid.now, dtype), descending(table, dtype))


def step(x: jax.Array, prediction: Prediction, turn: Turn, noise: Noise, eta: jax.Array) -> jax.Array:
    """A step with noise, whatever eta; of the one to data it is 0."""
    del eta
    prediction, table = shifted(prediction, x, turn.level), turn.coefficients
    mean = expand(table.x_0, x) * prediction.x_0 + expand(table.eps, x) * prediction.eps
    return mean + expand(table.noise, x) * noise()


euler_ancestral = state_is_x(plan, step)
