"""Ways that begin in the middle, as SDEdit's do, and what is known of the data along them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.exact import GAUSSIAN, TWO, smooth_grid
from glowdiff.samplers import SAMPLERS
from glowdiff.samplers.guidance import known_pixels
from glowdiff.samplers.levels import Level, Step, rows, up_to
from glowdiff.samplers.prediction import Prediction
from glowdiff.samplers.sampler import run

MEAN, SD = GAUSSIAN.means[0], GAUSSIAN.sds[0]


def beginning_at(grid: Step, t: float, variance: str = "fixed_small") -> Step:
    """`up_to` for the grids of `smooth_grid`, whose schedule is known between its levels too."""
    return up_to(grid, t, np.cos(t / 1000 * np.pi / 2) ** 2, variance)


@pytest.mark.parametrize("count", [4, 10])
def test_from_one_of_its_levels_on_a_grid_is_its_own_lower_part(count):
    grid = smooth_grid(10)
    part = up_to(grid, grid.now.t[count - 1], grid.now.alpha_bar[count - 1], "fixed_small")
    for kept, table in zip(jax.tree.leaves(part), jax.tree.leaves(grid), strict=True):
        np.testing.assert_allclose(kept, table[:count], rtol=1e-12)


@pytest.mark.parametrize(("t", "count"), [(500.5, 6), (499.5, 6), (1.0, 1)])
def test_a_way_begins_exactly_where_it_is_asked_to(t, count):
    """So two strengths are never the same, however few steps there are."""
    part = beginning_at(smooth_grid(10), t)
    assert (part.now.t[-1], len(part.now.t)) == (t, count)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_walks_a_single_step(name):
    x, grid = jnp.linspace(-1, 1, 5)[:, None], beginning_at(smooth_grid(10), 0.5)
    found, _ = run(SAMPLERS[name], TWO.denoise, x, grid, jax.random.split(jax.random.key(0), 5))
    expected = TWO.denoise(x, jax.tree.map(jnp.float32, rows(grid.now, 0))).x_0
    np.testing.assert_allclose(found, expected, atol=1e-5)


def noised(source: float, grid: Step, count: int) -> tuple[jax.Array, Level]:
    """`count` times the source with the noise of a grid's noisiest level, and that level."""
    top = rows(grid.now, -1)
    return top.alpha * source + top.sigma * jax.random.normal(jax.random.key(3), (count, 1), jnp.float64), top


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("strength", [0.25, 0.6, 0.9])
@pytest.mark.parametrize("name", ["ddim", "heun", "dpmpp_2m", "unipc"])
def test_sdedit_of_gaussian_data(name, strength):
    """The flow keeps z = (x_t - alpha mean) / sd(x_t), so what comes out of alpha u + sigma eps is known."""
    source, count = -0.4, 500
    grid = beginning_at(smooth_grid(400), strength * 1000)
    x, top = noised(source, grid, count)
    found = jax.jit(
        lambda x: run(SAMPLERS[name], GAUSSIAN.denoise, x, grid, jax.random.split(jax.random.key(0), count))[0]
    )(x)
    bottom = rows(grid.now, 0)
    sd_top, sd_bottom = (np.hypot(level.alpha * SD, level.sigma) for level in (top, bottom))
    per_z = bottom.alpha * SD**2 / sd_bottom  # every sampler ends with the expectation of x_0
    exact = MEAN + per_z * (np.asarray(x) - top.alpha * MEAN) / sd_top
    np.testing.assert_allclose(found, exact, atol=5e-3)
    # Mean and deviation over the noise: nearer to the data's, and wider, the stronger.
    assert found.mean() == pytest.approx(MEAN + per_z * top.alpha * (source - MEAN) / sd_top, abs=0.03)
    assert found.std() == pytest.approx(per_z * top.sigma / sd_top, rel=0.1)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("strength", [0.25, 0.6])
def test_sdedit_with_noise_draws_from_the_posterior(strength):
    """Of x_0 given x_t, N(mean + alpha SD^2 / v (x_t - alpha mean), SD^2 sigma^2 / v) with v the variance of x_t."""
    source, count = -0.4, 10_000
    grid = beginning_at(smooth_grid(200, "fixed_large"), strength * 1000, "fixed_large")
    x, top = noised(source, grid, count)
    keys = jax.random.split(jax.random.key(4), count)
    found = jax.jit(lambda x: run(SAMPLERS["ancestral"], GAUSSIAN.denoise, x, grid, keys)[0])(x)
    v = (top.alpha * SD) ** 2 + top.sigma**2
    gain = top.alpha * SD**2 / v
    assert found.mean() == pytest.approx(MEAN + gain * top.alpha * (source - MEAN), abs=0.015)
    assert found.std() == pytest.approx(np.sqrt((gain * top.sigma) ** 2 + SD**2 * top.sigma**2 / v), rel=0.05)


@pytest.mark.parametrize("name", SAMPLERS)
def test_known_pixels_are_reached_and_leave_independent_ones_alone(name):
    """Two pixels, of which the first is known."""

    def denoise(x: jax.Array, level: Level) -> Prediction:
        found = [TWO.denoise(x[:, i], level) for i in range(2)]
        return Prediction(*(jnp.stack(pair, 1) for pair in zip(*((p.x_0, p.eps) for p in found), strict=True)))

    grid, keys = smooth_grid(20), jax.random.split(jax.random.key(0), 5)
    x, image = jax.random.normal(jax.random.key(1), (5, 2, 1)), jnp.linspace(-1, 1, 10).reshape(5, 2, 1)
    mask = jnp.broadcast_to(jnp.array([1.0, 0.0])[None, :, None], image.shape)
    free, pasted = (run(SAMPLERS[name], d, x, grid, keys)[0] for d in (denoise, known_pixels(denoise, image, mask)))
    np.testing.assert_allclose(pasted[:, 0], image[:, 0], atol=1e-5)
    np.testing.assert_allclose(pasted[:, 1], free[:, 1], atol=1e-5)


def test_what_is_pasted_keeps_x_0_and_eps_in_agreement():
    level = jax.tree.map(jnp.float32, rows(smooth_grid(10).now, 6))
    x, image = jnp.linspace(-1, 1, 4)[:, None], jnp.full((4, 1), 0.3)
    found = known_pixels(TWO.denoise, image, jnp.array([1.0, 0, 1, 0])[:, None])(x, level)
    np.testing.assert_allclose(level.alpha * found.x_0 + level.sigma * found.eps, x, atol=1e-5)
    np.testing.assert_array_equal(found.x_0[::2], image[::2])
