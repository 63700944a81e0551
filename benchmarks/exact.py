"""Data of which everything is known: mixtures of Gaussians in one dimension, their denoiser, and the exact ODE."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtr, ndtri

from glowdiff.samplers.levels import Level, Step, expand, make_grid, make_level
from glowdiff.samplers.prediction import Denoiser, Prediction, from_x_0
from glowdiff.samplers.sampler import Sampler, run

CLEANEST, NOISIEST = 0.05, 1.5  # the angles atan(sigma / alpha) between which grids lie
COUNT = 41  # places at which an error is looked for


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

    def cdf(self, x: np.ndarray, level: Level) -> np.ndarray:
        """Of x_t at a level."""
        parts = zip(self.weights, self.means, self.sds, strict=True)
        below = [w * ndtr((x - level.alpha * m) / np.hypot(level.alpha * s, level.sigma)) for w, m, s in parts]
        return np.sum(below, axis=0)

    def solve(self, x: np.ndarray, start: Level, end: Level) -> np.ndarray:
        """Where the probability flow ODE takes x from one level to another.

        In one dimension its paths cannot cross, so each keeps its quantile; found by bisection to the last digit.
        """
        wanted = self.cdf(x, start)
        low, high = np.full_like(x, -20), np.full_like(x, 20)
        for _ in range(70):
            middle = (low + high) / 2
            below = self.cdf(middle, end) < wanted
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return (low + high) / 2

    def samples(self, grid: Step, count: int) -> np.ndarray:
        """What a perfect sampler makes of noise: quantiles [count, 1] of x_0 as predicted at the lowest level.

        There is noise left at that level, and every sampler ends with that prediction; needs float64.
        """
        noise = ndtri((np.arange(count) + 0.5) / count)[:, None]
        bottom = jax.tree.map(lambda table: table[0], grid.now)
        x = self.solve(noise, make_level(np.array(999.0), np.array(0.0)), bottom)
        return np.asarray(self.denoise(jnp.asarray(x), jax.tree.map(jnp.asarray, bottom)).x_0)


GAUSSIAN = Mixture((1.0,), (0.5,), (0.3,))
TWO = Mixture((0.4, 0.6), (-0.7, 0.5), (0.3, 0.2))


def smooth_grid(steps: int, variance: str = "fixed_small") -> Step:
    """Levels of the continuous cosine schedule, alpha = cos(angle), evenly spaced."""
    angle = np.linspace(CLEANEST, NOISIEST, steps)
    return make_grid(angle / (np.pi / 2) * 1000, np.cos(angle) ** 2, variance)


def stopping(grid: Step) -> Step:
    """A grid without its last step, the one to data: it ends at its lowest level."""
    bottom = float(grid.now.t[0]), float(grid.now.alpha_bar[0])
    return make_grid(grid.now.t[1:], grid.now.alpha_bar[1:], end=bottom)


def error(sampler: Sampler, data: Mixture, grid: Step, denoise: Denoiser | None = None) -> float:
    """The largest error of a deterministic sampler against the exact ODE, within two deviations; needs float64.

    Both ways end with the prediction of x_0 at the lowest level, so it is the error of the solver, not that of stopping
    there; or, of a grid that is `stopping`, at its end.

    Args:
      sampler: of `SAMPLERS`.
      data: where the ODE leads.
      grid: of levels.
      denoise: what the sampler sees; default: of the data.
    """
    top, bottom = (jax.tree.map(lambda table, row=row: table[row], grid.now) for row in (-1, 0))
    end = jax.tree.map(lambda table: table[0], grid.next)
    x = np.linspace(-2, 2, COUNT)[:, None]
    if end.sigma > 0:
        exact = jnp.asarray(data.solve(x, top, end))
    else:
        exact = data.denoise(jnp.asarray(data.solve(x, top, bottom)), jax.tree.map(jnp.asarray, bottom)).x_0
    keys = jax.random.split(jax.random.key(0), COUNT)
    found = jax.jit(lambda x: run(sampler, denoise or data.denoise, x, grid, keys)[0])(jnp.asarray(x))
    return float(jnp.abs(found - exact).max())
