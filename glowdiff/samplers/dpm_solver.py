"""DPM-Solver++(2M) (Lu et al., 2022, "DPM-Solver++"): multistep solvers in lambda = log(alpha / sigma).

Between two levels they take x_0 for linear in lambda, through the last two predictions, and solve the rest exactly. The
first step, and every step that is infinitely long in lambda (the last one, to data; the first one with zero terminal
SNR), takes x_0 for constant.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from glowdiff.samplers.levels import Array, Step, expand
from glowdiff.samplers.prediction import Prediction, shifted
from glowdiff.samplers.sampler import Noise, Sampler, Turn, descending


class Coefficients(NamedTuple):
    """x_next = x * x_t + x_0 * (data + slope * (data - previous data)) + noise * N(0, 1)."""

    x: Array
    x_0: Array
    slope: Array  # 1 / (2 r) of the paper: half the step by the length of the one before
    noise: Array


class History(NamedTuple):
    """What a solver carries."""

    x: jax.Array
    x_0: jax.Array  # predicted a step before


def lengths(grid: Step) -> np.ndarray:
    """The h of each step, in lambda, [K], infinite where it leaves pure noise or reaches data."""
    return grid.next.half_log_snr - grid.now.half_log_snr


def _slope(h: np.ndarray) -> np.ndarray:
    before = np.append(h[1:], np.inf)
    return np.divide(h, 2 * before, where=np.isfinite(h), out=np.zeros_like(h))


def plan_ode(grid: Step, dtype: Any) -> Turn:
    """Algorithm 2."""
    h = lengths(grid)
    table = Coefficients(
        x=grid.next.sigma / grid.now.sigma, x_0=-grid.next.alpha * np.expm1(-h), slope=_slope(h), noise=np.zeros_like(h)
    )
    return Turn(descending(grid.now, dtype), descending(table, dtype))


def plan_sde(grid: Step, dtype: Any) -> Turn:
    """SDE-DPM-Solver++(2M), appendix D."""
    h = lengths(grid)
    table = Coefficients(
        x=grid.next.sigma / grid.now.sigma * np.exp(-h),
        x_0=-grid.next.alpha * np.expm1(-2 * h),
        slope=_slope(h),
        noise=grid.next.sigma * np.sqrt(-np.expm1(-2 * h)),
    )
    return Turn(descending(grid.now, dtype), descending(table, dtype))


def step_ode(history: History, prediction: Prediction, turn: Turn, noise: Noise, eta: jax.Array) -> History:
    """A step of the ODE."""
    del noise, eta
    x, table = history.x, turn.coefficients
    x_0 = shifted(prediction, x, turn.level).x_0
    data = x_0 + expand(table.slope, x) * (x_0 - history.x_0)
    return History(expand(table.x, x) * x + expand(table.x_0, x) * data, x_0)


def step_sde(history: History, prediction: Prediction, turn: Turn, noise: Noise, eta: jax.Array) -> History:
    """The same with other coefficients, and noise, whatever eta."""
    solved = step_ode(history, prediction, turn, noise, eta)
    return solved._replace(x=solved.x + expand(turn.coefficients.noise, solved.x) * noise())


def _solver(plan: Any, step: Any) -> Sampler:
    return Sampler(plan, lambda x: History(x, jnp.zeros_like(x)), lambda carry: carry.x, step, lambda carry: carry.x)


dpmpp_2m = _solver(plan_ode, step_ode)
dpmpp_2m_sde = _solver(plan_sde, step_sde)
