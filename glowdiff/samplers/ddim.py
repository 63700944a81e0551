"""DDIM, from noise to data and back (Song et al., 2021)."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from glowdiff.samplers.levels import Array, Level, Step, as_dtype, expand
from glowdiff.samplers.prediction import Denoiser, Prediction, shifted
from glowdiff.samplers.sampler import Noise, Turn, descending, run, state_is_x


class Coefficients(NamedTuple):
    """Of a step to the next lower level."""

    alpha: Array  # of the level where it ends,
    variance: Array  # and 1 - alpha_bar there
    noise: Array  # standard deviation of the noise at eta = 1


def variance_of(level: Level, dtype: Any) -> np.ndarray:
    """1 - alpha_bar, formed in `dtype`.

    In float32 this is not sigma^2 to the last digit; it is what the published code computes, and so do we: where x_0 is
    clipped, eps is large and shows the difference.
    """
    return 1 - np.asarray(level.alpha_bar, dtype)


def plan(grid: Step, dtype: Any) -> Turn:
    """DDIM's coefficients (eq. 12 and 16)."""
    here, there = variance_of(grid.now, dtype), variance_of(grid.next, dtype)
    ratio = np.asarray(grid.now.alpha_bar, dtype) / np.asarray(grid.next.alpha_bar, dtype)
    sd = np.sqrt(np.divide(there, here, where=there > 0, out=np.zeros_like(there))) * np.sqrt(1 - ratio)
    return Turn(descending(grid.now, dtype), descending(Coefficients(grid.next.alpha, there, sd), dtype))


def step(x: jax.Array, prediction: Prediction, turn: Turn, noise: Noise, eta: jax.Array) -> jax.Array:
    """Equation 12; at eta = 0 no noise is drawn."""
    prediction = shifted(prediction, x, turn.level)
    table: Coefficients = turn.coefficients
    sd = eta * table.noise
    # Where alpha is 0 and eta 1 nothing is left of eps, and rounding must not make less than nothing of it.
    rest = jnp.sqrt(jnp.maximum(table.variance - sd**2, 0))
    mean = expand(table.alpha, x) * prediction.x_0 + expand(rest, x) * prediction.eps
    return mean + expand(sd, x) * jax.lax.cond(eta > 0, noise, lambda: jnp.zeros_like(x))


ddim = state_is_x(plan, step)


class Inversion(NamedTuple):
    """x at a higher level from x and eps."""

    x: Array
    eps: Array


def inversion(start: Level, end: Level, dtype: Any) -> Inversion:
    """The coefficients of a step up, in float64; `alpha_end * x_0 + sigma_end * eps` with x_0 written as x and eps."""
    scale = end.alpha / start.alpha
    return Inversion(scale, np.sqrt(variance_of(end, dtype)) - scale * start.sigma)


def plan_up(grid: Step, dtype: Any) -> Turn:
    """The grid from data to noise.

    A step's eps is predicted where it starts. Networks know no level without noise, so for the first one they are told
    that the data are at the lowest level of the grid.
    """
    lowest = jax.tree.map(lambda first, then: np.append(first[:1], then[1:]), grid.now, grid.next)
    return Turn(as_dtype(lowest, dtype), as_dtype(inversion(grid.next, grid.now, dtype), dtype))


def step_up(x: jax.Array, prediction: Prediction, turn: Turn, noise: Noise, eta: jax.Array) -> jax.Array:
    """DDIM with eta = 0, upwards."""
    del noise, eta
    table: Inversion = turn.coefficients
    return expand(table.x, x) * x + expand(table.eps, x) * shifted(prediction, x, turn.level).eps


ddim_inversion = state_is_x(plan_up, step_up)


def invert(denoise: Denoiser, x_0: jax.Array, grid: Step) -> jax.Array:
    """The x_T of which DDIM with eta = 0 makes x_0 [B, ...], up to the error of its steps (Song et al., sec. 5.4)."""
    return run(ddim_inversion, denoise, x_0, grid, None)[0]
