"""Samplers with exact denoisers: they find the data, and their errors fall as their orders say."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.exact import TWO, error, smooth_grid, stopping
from glowdiff.samplers import SAMPLERS
from glowdiff.samplers.levels import Step, make_grid, rows
from glowdiff.samplers.sampler import run

# UniPC of order p converges with order p + 1 (Zhao et al., 2023, theorem 3.1).
ORDERS = {"ddim": 1, "euler": 1, "heun": 2, "dpmpp_2m": 2, "plms": 2, "unipc": 3}
NOISY = {"ancestral", "euler_ancestral", "dpmpp_2m_sde"}


def for_sampler(name: str, grid: Step) -> Step:
    """All end with what they predict at the lowest level but PLMS, whose last step mixes older eps into it."""
    return stopping(grid) if name == "plms" else grid


def test_every_sampler_is_tested():
    assert set(ORDERS) | NOISY == set(SAMPLERS)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ORDERS)
def test_order(name):
    coarse, fine = (error(SAMPLERS[name], TWO, for_sampler(name, smooth_grid(steps))) for steps in (160, 320))
    assert np.log2(coarse / fine) == pytest.approx(ORDERS[name], abs=0.25)
    assert fine < {1: 4e-3, 2: 1e-4, 3: 2e-5}[ORDERS[name]]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ["dpmpp_2m", "unipc", "plms"])
def test_twenty_evaluations_go_further_than_with_ddim(name):
    grid = for_sampler(name, smooth_grid(20))
    better, ddim = (error(SAMPLERS[sampler], TWO, grid) for sampler in (name, "ddim"))
    assert better < 0.6 * ddim


def test_euler_is_ddim_without_noise():
    x = jnp.linspace(-2, 2, 5)[:, None]
    keys = jax.random.split(jax.random.key(0), 5)
    one, other = (run(SAMPLERS[name], TWO.denoise, x, smooth_grid(10), keys)[0] for name in ("ddim", "euler"))
    np.testing.assert_allclose(one, other, atol=1e-5)


def terminal_grid(steps: int) -> Step:
    """Zero terminal SNR: alpha is 0 where the way starts, and 1 / alpha and lambda infinite."""
    angle = np.linspace(0.05, np.pi / 2, steps)
    return make_grid(angle * 636, np.append(np.cos(angle[:-1]) ** 2, 0.0))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ORDERS)
def test_levels_without_any_data(name):
    """One step more of first order leaves the orders as they are."""
    coarse, fine = (error(SAMPLERS[name], TWO, for_sampler(name, terminal_grid(steps))) for steps in (80, 160))
    assert np.log2(coarse / fine) == pytest.approx(ORDERS[name], abs=0.25)


@pytest.mark.parametrize("name", ["ancestral", "ddim", "euler_ancestral", "dpmpp_2m_sde"])
def test_noise_at_levels_without_any_data(name):
    x, keys = jax.random.normal(jax.random.key(1), (4000, 1)), jax.random.split(jax.random.key(2), 4000)
    found = jax.jit(lambda x: run(SAMPLERS[name], TWO.denoise, x, terminal_grid(50), keys, eta=1.0)[0])(x)
    assert float(found.mean()) == pytest.approx(0.02, abs=0.05)
    assert float(found.std()) == pytest.approx(0.635, rel=0.05)


def test_rounding_leaves_no_negative_variance():
    """From pure noise, DDIM with all its noise keeps nothing of eps: a difference of equals, under a root."""
    x = jnp.ones((1, 1))
    for steps in range(2, 60):
        turn = rows(SAMPLERS["ddim"].plan(terminal_grid(steps), x.dtype), 0)
        prediction = TWO.denoise(x, turn.level)
        assert np.isfinite(SAMPLERS["ddim"].step(x, prediction, turn, lambda: x, jnp.float32(1))).all(), steps


def draw(name: str, eta: float, variance: str) -> tuple[np.ndarray, np.ndarray]:
    """10,000 samples of the mixture in ascending order, and what they should be."""
    count, grid, key = 10_000, smooth_grid(100, variance), jax.random.key(1)
    x, keys = jax.random.normal(key, (count, 1), jnp.float64), jax.random.split(key, count)
    found = jax.jit(lambda x, eta: run(SAMPLERS[name], TWO.denoise, x, grid, keys, eta=eta)[0])(x, eta)
    return np.sort(np.asarray(found), 0), TWO.samples(grid, count)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("name", "variance"), [("ancestral", "fixed_large"), ("dpmpp_2m_sde", "fixed_small")])
def test_noise_reaches_the_distribution(name, variance):
    found, exact = draw(name, 0.0, variance)
    assert found.mean() == pytest.approx(exact.mean(), abs=0.015)  # its standard error is 0.0063
    assert found.var() == pytest.approx(exact.var(), rel=0.03)
    assert np.abs(found - exact).mean() < 0.015  # Wasserstein's distance


@pytest.mark.usefixtures("float64")
def test_ddim_with_all_its_noise_is_ancestral_sampling():
    """Song et al. (2021, sec. 4.1): with the posterior's variance."""
    found, exact = draw("ddim", 1.0, "fixed_small")
    np.testing.assert_allclose(draw("ancestral", 0.0, "fixed_small")[0], found, atol=1e-12)
    assert found.mean() == pytest.approx(exact.mean(), abs=0.015)
    assert found.var() == pytest.approx(exact.var(), rel=0.05)  # both are somewhat too narrow, with 100 steps
