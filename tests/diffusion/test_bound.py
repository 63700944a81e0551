"""The bound of data whose density and whose best denoiser are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from glowdiff.diffusion.bound import bound
from glowdiff.diffusion.process import Process
from glowdiff.diffusion.schedules import alpha_bars
from glowdiff.method import example_keys
from glowdiff.samplers.prediction import from_x_0

MEAN, SD, LEVELS = 0.1, 0.25, 256
N = 8
KEYS = example_keys(jax.random.key(1), N)
PIXELS = jnp.round((MEAN + SD * jax.random.normal(jax.random.key(0), (N, 32, 32, 3)) + 1) / 2 * (LEVELS - 1))
X_0 = jnp.clip(PIXELS, 0, LEVELS - 1) / (LEVELS - 1) * 2 - 1
COSINE = Process(alpha_bars("cosine", 1000), "x_0")


def denoise(x_t, level):
    """E[x_0 | x_t] of independent N(MEAN, SD^2) pixels."""
    gain = level.alpha * SD**2 / (level.alpha_bar * SD**2 + level.sigma**2)
    return from_x_0(x_t, level, MEAN + gain * (x_t - level.alpha * MEAN))


@pytest.fixture(scope="module")
def terms():
    """Of grids of 10, 50 and 250 steps."""
    return {k: jax.jit(lambda x, k=k: bound(denoise, x, COSINE.grid(str(k)), KEYS, LEVELS))(X_0) for k in (10, 50, 250)}


def test_it_approaches_the_entropy_from_above(terms):
    half = 1 / (LEVELS - 1)
    exact = -jnp.log2(norm.cdf(X_0 + half, MEAN, SD) - norm.cdf(X_0 - half, MEAN, SD)).mean()
    gaps = [float(terms[k].total.mean() - exact) for k in (10, 50, 250)]
    assert gaps[0] > gaps[1] > gaps[2] > 0
    assert gaps[0] > 3 * gaps[1] > 9 * gaps[2], gaps
    assert gaps[2] < 0.03


def test_its_parts_add_up(terms):
    for k, found in terms.items():
        assert found.vb.shape == found.x_0_mse.shape == found.eps_mse.shape == (N, k)
        np.testing.assert_allclose(found.total, found.prior + found.vb.sum(1), rtol=1e-5)
        assert (found.vb > 0).all()
    # The clean end comes first; at the noisy one nothing is known but the mean.
    assert (terms[50].x_0_mse[:, 0] < 1e-3).all()
    np.testing.assert_allclose(terms[50].x_0_mse[:, -1].mean(), SD**2, rtol=0.1)


def test_an_example_does_not_depend_on_its_batch(terms):
    alone = jax.jit(lambda x: bound(denoise, x, COSINE.grid("50"), KEYS[5:7], LEVELS))(X_0[5:7])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b[5:7], rtol=1e-4, atol=1e-7), alone, terms[50])


def test_predictions_beyond_the_range_of_pixels_are_clipped():
    """As `clip_denoised` of the originals' evaluation does."""
    grid = COSINE.grid("10")
    far, end = (lambda x, level, v=v: from_x_0(x, level, jnp.full_like(x, v)) for v in (7.0, 1.0))
    run = jax.jit(lambda x: (bound(far, x, grid, KEYS, LEVELS), bound(end, x, grid, KEYS, LEVELS)))
    jax.tree.map(np.testing.assert_array_equal, *run(X_0))


def test_zero_terminal_snr():
    process = Process(alpha_bars("cosine", 50, zero_terminal_snr=True), "v")
    found = jax.jit(lambda x: bound(denoise, x, process.training_grid(), KEYS, LEVELS))(X_0)
    np.testing.assert_array_equal(found.prior, 0)
    assert all(np.isfinite(array).all() for array in found)


def test_memory_does_not_grow_with_the_steps():
    def scratch(steps):
        run = jax.jit(lambda x: bound(denoise, x, COSINE.grid(steps), KEYS, LEVELS))
        return run.lower(X_0).compile().memory_analysis().temp_size_in_bytes

    assert scratch("500") - scratch("10") < X_0.nbytes
