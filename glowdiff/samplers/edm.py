"""Samplers of Karras et al. (2022): Euler's and Heun's methods for the ODE d(x / alpha) = eps d(sigma / alpha).

Meant for the spacing `karras`. Their algorithm 1 scales x by 1 / alpha, to x_0 + (sigma / alpha) noise;
here x is not scaled: the same numbers, and no division where alpha is 0.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from glowdiff.samplers.levels import Array, Level, Step, expand
from glowdiff.samplers.prediction import Prediction, shifted
from glowdiff.samplers.sampler import Noise, Sampler, Turn, descending, state_is_x


def along(prediction: Prediction, x: jax.Array, to: Level | Correction) -> jax.Array:
    """Where the straight line through x with slope eps meets the level `to`: x_0 and eps, mixed anew."""
    return expand(to.alpha, x) * prediction.x_0 + expand(to.sigma, x) * prediction.eps


def plan_euler(grid: Step, dtype: Any) -> Turn:
    """The levels of the grid."""
    return Turn(descending(grid.now, dtype), descending(grid.next, dtype))


def step_euler(x: jax.Array, prediction: Prediction, turn: Turn, noise: Noise, eta: jax.Array) -> jax.Array:
    """A step of Euler's method: that of DDIM with eta = 0, from exact tables."""
    del noise, eta
    return along(shifted(prediction, x, turn.level), x, turn.coefficients)


euler = state_is_x(plan_euler, step_euler)


class Correction(NamedTuple):
    """Of a turn of Heun's method: an Euler step to alpha and sigma, or the correction of the one before."""

    corrects: Array  # 1 or 0
    alpha: Array
    sigma: Array
    half: Array  # half of what eps moves x by in the step to be corrected


class Path(NamedTuple):
    """What Heun's method carries."""

    x: jax.Array  # where the denoiser is evaluated next
    eps: jax.Array  # at the start of the step


def plan_heun(grid: Step, dtype: Any) -> Turn:
    """2K - 1 turns: Euler's step at each level, and at each but the last one the correction of where it led.

    A step from a level without data (zero terminal SNR) is infinitely long in sigma / alpha, and is not corrected.
    """
    now, after = grid.now, grid.next
    finite = now.alpha > 0
    slope = after.sigma - now.sigma * np.divide(after.alpha, now.alpha, where=finite, out=np.zeros_like(now.alpha))
    zero, one = np.zeros_like(now.t), np.ones_like(now.t)
    predict = Correction(zero, after.alpha, after.sigma, zero)
    correct = Correction(one, zero, zero, np.where(finite, 0.5 * slope, 0))
    # A correction stands before its prediction, as rows ascend; row 0 leads to data, where there is nothing to predict.
    turns = jax.tree.map(
        lambda second, first: np.stack([second, first], 1).reshape(-1)[1:],
        Turn(after, correct),
        Turn(now, predict),
    )
    return descending(turns, dtype)


def step_heun(path: Path, prediction: Prediction, turn: Turn, noise: Noise, eta: jax.Array) -> Path:
    """The two halves of algorithm 1's step, without churn."""
    del noise, eta
    x, prediction, table = path.x, shifted(prediction, path.x, turn.level), turn.coefficients
    corrects = expand(table.corrects, x) > 0
    corrected = x + expand(table.half, x) * (prediction.eps - path.eps)
    return Path(jnp.where(corrects, corrected, along(prediction, x, table)), prediction.eps)


heun = Sampler(plan_heun, lambda x: Path(x, jnp.zeros_like(x)), lambda path: path.x, step_heun, lambda path: path.x)
