"""PLMS: pseudo linear multistep, of PNDM (Liu et al., 2022), as Stable Diffusion samples ("PNDM, PRK steps skipped").

DDIM's step without noise, along a mix of the last four eps (Adams & Bashforth, order 4) in place of the newest. The
first step has a turn more: it is taken, eps is predicted where it led, and it is taken again along the mean of the two.
So K steps are K + 1 evaluations. The mix is made for steps of equal length in t, spaced `even`, `leading` or
`trailing`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from glowdiff.samplers.levels import Array, Step, expand
from glowdiff.samplers.prediction import Prediction, shifted
from glowdiff.samplers.sampler import Noise, Sampler, Turn, descending

# Of eps now and of those before it, newest first, by how many there are (eq. 10 and appendix).
ADAMS_BASHFORTH = np.array(
    [[1, 0, 0, 0], [3 / 2, -1 / 2, 0, 0], [23 / 12, -16 / 12, 5 / 12, 0], [55 / 24, -59 / 24, 37 / 24, -9 / 24]]
)
MEAN = np.array([1 / 2, 1 / 2, 0, 0])  # of the second turn


class Coefficients(NamedTuple):
    """x_next = x * (x where the step begins) + x_0 * (predicted data) + eps * (the mix of eps)."""

    again: Array  # 1 in the turn that takes the first step again, else 0
    x: Array
    x_0: Array
    eps: Array
    mix: tuple[Array, ...]  # of this eps and three before it, newest first


class Path(NamedTuple):
    """What PLMS carries."""

    x: jax.Array  # where the denoiser is evaluated next
    start: jax.Array  # x a turn before
    before: tuple[jax.Array, ...]  # the last three eps, newest first


def plan(grid: Step, dtype: Any) -> Turn:
    """K + 1 turns; K where the first step begins without any data (zero terminal SNR), or is the only one.

    From such a level a path has no slope to correct: the first step mixes predicted data and noise, as Euler's does.
    """
    now, after, count = grid.now, grid.next, len(grid.now.t)
    first, finite = np.arange(count) == count - 1, now.alpha > 0
    scale = np.divide(after.alpha, now.alpha, where=finite, out=np.zeros_like(now.alpha))
    slope = after.sigma - scale * now.sigma
    mixes = ADAMS_BASHFORTH[np.minimum(np.arange(count)[::-1], 3)]
    table = Coefficients(
        np.zeros(count),
        np.where(first, 0, scale),
        np.where(first, after.alpha, 0),
        np.where(first, after.sigma, slope),
        tuple(mixes.T),
    )
    turns = Turn(now, table)
    if count > 1 and finite[-1]:
        again = Coefficients(np.ones(1), scale[-1:], np.zeros(1), slope[-1:], tuple(MEAN[:, None]))
        led = jax.tree.map(lambda column: column[-1:], after)  # where the first step leads
        # Rows ascend: the turn stands before that of the first step.
        turns = jax.tree.map(lambda rows, row: np.concatenate([rows[:-1], row, rows[-1:]]), turns, Turn(led, again))
    return descending(turns, dtype)


def step(path: Path, prediction: Prediction, turn: Turn, noise: Noise, eta: jax.Array) -> Path:
    """A step along the mix."""
    del noise, eta
    x, table = path.x, turn.coefficients
    prediction = shifted(prediction, x, turn.level)
    found = (prediction.eps, *path.before)
    mixed = sum((expand(factor, x) * eps for factor, eps in zip(table.mix, found, strict=True)), jnp.zeros_like(x))
    again = expand(table.again, x) > 0
    walked = expand(table.x, x) * jnp.where(again, path.start, x) + expand(table.x_0, x) * prediction.x_0
    # What was predicted for the first step's second half enters no later mix.
    before = tuple(jnp.where(again, old, new) for old, new in zip(path.before, found, strict=False))
    return Path(walked + expand(table.eps, x) * mixed, x, before)


def _start(x: jax.Array) -> Path:
    nothing = jnp.zeros_like(x)
    return Path(x, x, (nothing,) * 3)


plms = Sampler(plan, _start, lambda path: path.x, step, lambda path: path.x)
