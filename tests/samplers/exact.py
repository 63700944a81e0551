"""Data of which everything is known: mixtures of Gaussians in one dimension, their denoiser, and the exact ODE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtr

from glowdiff.samplers.levels import Level, Step, expand, make_grid
from glowdiff.samplers.prediction import Prediction, from_x_0
from glowdiff.samplers.sampler import Sampler, run

CLEANEST, NOISIEST = 0.05, 1.5  # the angles atan(sigma / alpha) between which grids lie


@dataclass(frozen=True)
class Mixture:
    """Sum of weight * N(mean, sd^2); arrays of x are [B, 1]."""

    weights: tuple[float, ...]
    means: tuple[float, ...]
    sds: tuple[float, ...]

    def denoise(self, x: jax.Array, level: Level) -> Prediction:
        """The expectation of x_0 given x_t."""
        weights, means, sds = (jnp.asarray(part, x.dtype)[None] for part in (self.weights, self.means, self.sds))
        alpha, sigma = expand(level.alpha, x), expand(level.sigma, x)
        variance = alpha**2 * sds**2 + sigma**2
        difference = x - alpha * means
        share = jax.nn.softmax(jnp.log(weights) - 0.5 * jnp.log(variance) - 0.5 * difference**2 / variance, axis=1)
        return from_x_0(x, level, (share * (means + alpha * sds**2 / variance * difference)).sum(1, keepdims=True))

    def cdf(self, x: np.ndarray, alpha: float, sigma: float) -> np.ndarray:
        """Of x_t at a level."""
        parts = zip(self.weights, self.means, self.sds, strict=True)
        return sum(w * ndtr((x - alpha * m) / np.sqrt(alpha**2 * s**2 + sigma**2)) for w, m, s in parts)

    def solve(self, x: np.ndarray, start: Level, end: Level) -> np.ndarray:
        """Where the probability flow ODE takes x from one level to another.

        In one dimension its paths cannot cross, so each keeps its quantile; found by bisection to the last digit.
        """
        wanted = self.cdf(x, start.alpha, start.sigma)
        low, high = np.full_like(x, -20), np.full_like(x, 20)
        for _ in range(70):
            middle = (low + high) / 2
            below = self.cdf(middle, end.alpha, end.sigma) < wanted
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return (low + high) / 2


GAUSSIAN = Mixture((1.0,), (0.5,), (0.3,))
TWO = Mixture((0.4, 0.6), (-0.7, 0.5), (0.3, 0.2))


def smooth_grid(steps: int, variance: str = "fixed_small") -> Step:
    """Levels of the continuous cosine schedule, alpha = cos(angle), evenly spaced."""
    angle = np.linspace(CLEANEST, NOISIEST, steps)
    return make_grid(angle / (np.pi / 2) * 1000, np.cos(angle) ** 2, variance)


def quantiles(count: int, sd: float = 1.0) -> np.ndarray:
    """Standard normal numbers [count, 1] at which an error is looked for, evenly spread from -2 to 2 deviations."""
    return np.linspace(-2, 2, count)[:, None] * sd


def error(sampler: Sampler, data: Mixture, steps: int, **options: Any) -> float:
    """The largest error of a deterministic sampler against the exact ODE.

    The way ends with the prediction of x_0 at the lowest level, which has noise left; so does the exact one. What is
    seen is the error of the solver, not that of stopping there. Needs `jax.enable_x64`.
    """
    grid = smooth_grid(steps)
    top, bottom = (jax.tree.map(lambda table, row=row: table[row], grid.now) for row in (-1, 0))
    x = quantiles(41)
    exact = data.denoise(jnp.asarray(data.solve(x, top, bottom)), jax.tree.map(jnp.asarray, bottom)).x_0
    found = jax.jit(
        lambda x: run(sampler, data.denoise, x, grid, jax.random.split(jax.random.key(0), 41), **options)[0]
    )
    return float(jnp.abs(found(x) - exact).max())
