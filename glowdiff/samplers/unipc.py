"""UniPC, a predictor and a corrector that share one evaluation (Zhao et al., 2023): order 2, data prediction, B_2(h).

The prediction made at a level first corrects the step that led there, then predicts the next one; both start where the
corrected path is. As in `dpm_solver`, steps of infinite length are of first order, and are not corrected.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from glowdiff.samplers.dpm_solver import lengths
from glowdiff.samplers.levels import Array, Step, expand
from glowdiff.samplers.prediction import Prediction, shifted
from glowdiff.samplers.sampler import Noise, Sampler, Turn, descending


class Mix(NamedTuple):
    """x at the end of a step: the sum of what lies on its way, by these factors."""

    x: Array  # the corrected x at its start
    newest: Array  # x_0 predicted at its end (which only a correction has),
    last: Array  # at its start,
    older: Array  # and a step before


class Coefficients(NamedTuple):
    """Of a turn."""

    corrects: Array  # 1, or 0 where the path is left as it was predicted
    correction: Mix  # of the step that led here
    prediction: Mix  # of the next one


class Path(NamedTuple):
    """What UniPC carries."""

    predicted: jax.Array  # where the denoiser is evaluated next
    corrected: jax.Array  # a level before
    last: jax.Array  # x_0 predicted there,
    older: jax.Array  # and another level before


def phi(order: int, z: np.ndarray) -> np.ndarray:
    """The sum of z^n / (n + order)!, n = 0, 1, …: (e^z - 1) / z for order 1."""
    series = sum(z**n / math.factorial(n + order) for n in range(12))
    if order == 0:
        return np.exp(z)
    with np.errstate(divide="ignore", invalid="ignore"):
        closed = (phi(order - 1, z) - 1 / math.factorial(order - 1)) / z
    return np.where(np.abs(z) < 0.5, series, closed)


def mixes(grid: Step) -> tuple[np.ndarray, Mix, Mix]:
    """For each step of the grid, whether it can be corrected, its prediction (eq. 8) and its correction (eq. 5)."""
    h = lengths(grid)
    finite = np.isfinite(h)
    z = np.where(finite, -h, -1)
    before = np.append(h[1:], np.inf)  # of the step that leads to this one
    second = finite & np.isfinite(before)
    r = np.where(second, -before / np.where(finite, h, 1), -1)
    b = np.expm1(z)
    scale = -grid.next.alpha * np.expm1(-h)  # of the data, were they constant
    # The differences of data to those at the start of the step, D_m / r_m of the paper, get these weights.
    first, then = z * phi(2, z) / b, 2 * z * phi(3, z) / b
    older = np.where(second, (first - then) / (1 - r), 0)
    newest = np.where(second, first - older, 0.5)
    half = np.where(second, 0.5, 0)
    x = grid.next.sigma / grid.now.sigma

    def mix(newest: np.ndarray, older: np.ndarray) -> Mix:
        older = older / r
        return Mix(x, scale * newest, scale * (1 - newest - older), scale * older)

    return finite, mix(np.zeros_like(h), half), mix(newest, older)


def plan(grid: Step, dtype: Any) -> Turn:
    """One turn per step: a row's correction is that of the row above, whose step leads to its level."""
    finite, prediction, correction = mixes(grid)
    corrects, correction = jax.tree.map(lambda table: np.append(table[1:], 0.0), (finite, correction))
    table = Coefficients(corrects, correction, prediction)
    return Turn(descending(grid.now, dtype), descending(table, dtype))


def _mixed(mix: Mix, x: jax.Array, newest: jax.Array, last: jax.Array, older: jax.Array) -> jax.Array:
    terms = zip(mix, (x, newest, last, older), strict=True)
    return sum((expand(factor, x) * term for factor, term in terms), jnp.zeros_like(x))


def step(path: Path, prediction: Prediction, turn: Turn, noise: Noise, eta: jax.Array) -> Path:
    """Correct the step that led here, and predict the next one."""
    del noise, eta
    x, table = path.predicted, turn.coefficients
    x_0 = shifted(prediction, x, turn.level).x_0
    corrected = _mixed(table.correction, path.corrected, x_0, path.last, path.older)
    here = jnp.where(expand(table.corrects, x) > 0, corrected, x)
    return Path(_mixed(table.prediction, here, x_0, x_0, path.last), here, x_0, path.last)


def _start(x: jax.Array) -> Path:
    nothing = jnp.zeros_like(x)
    return Path(x, x, nothing, nothing)


unipc = Sampler(plan, _start, lambda path: path.predicted, step, lambda path: path.predicted)
