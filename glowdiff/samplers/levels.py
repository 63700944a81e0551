"""Noise levels of a process, and the grid of them that a sampler walks along.

With alpha^2 + sigma^2 = 1, noise level t has x_t = alpha x_0 + sigma eps, alpha^2 = alpha_bar (Ho et al., 2020, eq. 4).
Tables are made in float64 on the host, so that nothing cancels; `as_dtype` turns them into what samplers compute in.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Array = Any  # float64 numpy while tables are made, jax arrays inside a program

DATA = (-1.0, 1.0)  # t and alpha_bar of data without noise
FIXED = ("fixed_small", "fixed_large")  # variances of p(x_s | x_t) that no network predicts


class Level(NamedTuple):
    """One noise level (scalars), one per example ([B]), or the levels of a grid ([K])."""

    t: Array  # timestep of training, a float between 0 and T - 1; -1: data without noise
    alpha_bar: Array
    alpha: Array  # sqrt(alpha_bar)
    sigma: Array  # sqrt(1 - alpha_bar)
    recip_alpha: Array  # 1 / alpha; infinite where nothing is left of the data
    ratio: Array  # sigma / alpha, the noise level of Karras et al. (2022)
    half_log_snr: Array  # log(alpha / sigma), lambda of Lu et al. (2022); infinite without noise


class Step(NamedTuple):
    """From one level to the next lower one; a `Step` of arrays [K] is a grid.

    Row k of a grid goes from level k to level k - 1, row 0 to data without noise (unless `make_grid` was given another
    end): rows ascend in noise, as timesteps do, and samplers walk them from the last to the first. The posterior is
    q(x_next | x_now, x_0) (Ho et al., eq. 7).
    """

    now: Level
    next: Level
    beta: Array  # 1 - alpha_bar(now) / alpha_bar(next)
    log_beta: Array
    posterior_x_0: Array  # coefficient of x_0 in the posterior's mean,
    posterior_x_t: Array  # and of x_t
    posterior_variance: Array  # 0 in row 0
    posterior_log_variance: Array  # row 0, whose variance is 0, repeats row 1
    variance: Array  # of p(x_next | x_now) where the network does not predict it
    log_variance: Array


def make_level(t: np.ndarray, alpha_bar: np.ndarray) -> Level:
    """The float64 levels of timesteps `t` with the given alpha_bar, both [K]."""
    t, alpha_bar = np.asarray(t, np.float64), np.asarray(alpha_bar, np.float64)
    with np.errstate(divide="ignore"):
        recip = 1 / alpha_bar
        half_log_snr = 0.5 * (np.log(alpha_bar) - np.log1p(-alpha_bar))
    return Level(
        t, alpha_bar, np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar), np.sqrt(recip), np.sqrt(recip - 1), half_log_snr
    )


def make_grid(
    t: np.ndarray, alpha_bar: np.ndarray, variance: str = "fixed_large", end: tuple[float, float] = DATA
) -> Step:
    """The float64 grid through levels `t` [K], ascending, with the given alpha_bar [K], descending.

    Args:
      t: timesteps of training.
      alpha_bar: of each.
      variance: `fixed_small` (that of the posterior) or `fixed_large` (beta, its first entry the posterior's second).
      end: t and alpha_bar of the level where row 0 leads.
    """
    alpha_bar = np.asarray(alpha_bar, np.float64)
    now = make_level(t, alpha_bar)
    after = make_level(np.append(end[0], now.t[:-1]), np.append(end[1], alpha_bar[:-1]))
    beta = 1 - alpha_bar / after.alpha_bar
    posterior_variance = beta * (1 - after.alpha_bar) / (1 - alpha_bar)
    second = posterior_variance[min(1, len(beta) - 1)] or beta[0]  # a grid of one step has no second entry
    clipped = np.append(second, posterior_variance[1:])
    large = np.append(second, beta[1:])
    return Step(
        now=now,
        next=after,
        beta=beta,
        log_beta=np.log(beta),
        posterior_x_0=beta * after.alpha / (1 - alpha_bar),
        posterior_x_t=(1 - after.alpha_bar) * np.sqrt(1 - beta) / (1 - alpha_bar),
        posterior_variance=posterior_variance,
        posterior_log_variance=np.log(clipped),
        variance=large if variance == "fixed_large" else posterior_variance,
        log_variance=np.log(large if variance == "fixed_large" else clipped),
    )


def up_to(grid: Step, t: float, alpha_bar: float, variance: str = "fixed_large") -> Step:
    """The float64 grid from timestep `t`, of the given alpha_bar, down along those levels of `grid` that are below."""
    below, end = grid.now.t < t, (float(grid.next.t[0]), float(grid.next.alpha_bar[0]))
    levels = np.append(grid.now.t[below], t), np.append(grid.now.alpha_bar[below], alpha_bar)
    return make_grid(*levels, variance, end if end[0] < t else DATA)


def as_dtype(tables: Any, dtype: Any) -> Any:
    """Tables as jax arrays of `dtype`."""
    return jax.tree.map(lambda table: jnp.asarray(table, dtype), tables)


def rows(grid: Any, index: Array) -> Any:
    """The rows of a grid (jax arrays [K, ...]) at `index`, an integer or integers [B]."""
    return jax.tree.map(lambda table: table[index], grid)


def expand(factor: jax.Array, x: jax.Array) -> jax.Array:
    """A scalar or [B], with axes of length 1 added, so that it multiplies x [B, ...]."""
    return factor.reshape(factor.shape + (1,) * (x.ndim - factor.ndim))
