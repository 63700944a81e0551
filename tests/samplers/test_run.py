"""The loop: what it keeps, what it compiles, and what the samples depend on."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.exact import TWO, smooth_grid
from glowdiff.samplers import SAMPLERS
from glowdiff.samplers.ddim import invert
from glowdiff.samplers.guidance import clip_x_0
from glowdiff.samplers.levels import Level
from glowdiff.samplers.prediction import Prediction, from_x_0
from glowdiff.samplers.sampler import Sampler, run
from tests import small

STEPS = 6
KEYS = jax.random.split(jax.random.key(0), 8)


@pytest.fixture
def x() -> jax.Array:
    return jax.random.normal(jax.random.key(1), (8, 1))


def timestep(x: jax.Array, level: Level) -> Prediction:
    """Pretends that the data are the timestep."""
    return from_x_0(x, level, jnp.full_like(x, level.t))


@pytest.mark.parametrize("name", SAMPLERS)
def test_frames_are_spread_over_the_turns(name, x):
    grid, sampler = smooth_grid(STEPS), SAMPLERS[name]
    turns = np.asarray(sampler.plan(grid, jnp.float32).level.t)
    assert len(turns) == {"heun": 2 * STEPS - 1, "plms": STEPS + 1}.get(name, STEPS)
    sample, kept = run(sampler, timestep, x, grid, KEYS, frames=4)
    assert kept is not None
    ends = {6: [0, 2, 3, 5], 7: [0, 2, 4, 6], 11: [1, 4, 7, 10]}[len(turns)]
    np.testing.assert_allclose(kept[:, 0, 0], turns[ends], rtol=1e-6)
    if name != "plms":  # which ends along a mix, every sampler ends with what is predicted
        np.testing.assert_allclose(sample, kept[-1], rtol=1e-5)


def test_all_frames_or_none(x):
    grid = smooth_grid(STEPS)
    kept = run(SAMPLERS["ddim"], timestep, x, grid, KEYS, frames=STEPS)[1]
    assert kept is not None
    np.testing.assert_allclose(kept[:, 0, 0], grid.now.t[::-1], rtol=1e-6)
    assert run(SAMPLERS["ddim"], timestep, x, grid, KEYS)[1] is None


def test_there_are_no_more_frames_than_turns(x):
    kept = run(SAMPLERS["ddim"], timestep, x, smooth_grid(STEPS), KEYS, frames=STEPS + 1)[1]
    assert kept is not None
    assert len(kept) == STEPS


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_example_depends_on_its_own_key_alone(name, x):
    grid, picked = smooth_grid(STEPS), jnp.array([5, 2])

    @jax.jit
    def sample(x, keys):
        return run(SAMPLERS[name], TWO.denoise, x, grid, keys, eta=1.0)[0]

    whole = sample(x, KEYS)
    np.testing.assert_allclose(sample(x[picked], KEYS[picked]), whole[picked], atol=1e-6)
    assert bool(jnp.any(sample(x, KEYS[::-1]) != whole)) == (
        name in ("ancestral", "ddim", "euler_ancestral", "dpmpp_2m_sde")
    )


def test_noise_is_new_in_every_turn(x):
    """And is that of the example's key folded with the turn's number, as a sampler sees that keeps it all."""

    def step(carry, prediction, turn, noise, eta):
        return jax.lax.dynamic_update_slice(carry, noise()[None], (jnp.int32(turn.coefficients), 0, 0))

    plan = SAMPLERS["euler"].plan
    recorder = Sampler(
        plan=lambda grid, dtype: plan(grid, dtype)._replace(coefficients=jnp.arange(STEPS)),
        init=lambda x: jnp.zeros((STEPS, *x.shape)),
        inputs=lambda carry: carry[0],
        step=step,
        result=lambda carry: carry,
    )
    drawn = np.asarray(run(recorder, timestep, x, smooth_grid(STEPS), KEYS)[0]).ravel()
    expected = [jax.random.normal(jax.random.fold_in(key, turn), (1,)) for turn in range(STEPS) for key in KEYS]
    np.testing.assert_array_equal(drawn, np.ravel(expected))


def test_another_eta_or_other_weights_compile_nothing(x):
    @jax.jit
    def sample(x, weight, eta):
        denoise = clip_x_0(lambda x, level: from_x_0(x, level, weight * x))
        return run(SAMPLERS["ddim"], denoise, x, smooth_grid(STEPS), KEYS, eta=eta, frames=2)[0]

    first = sample(x, 0.5, 0.0)
    with small.compilations() as compiled:
        second, third = sample(x, 0.6, 0.0), sample(x, 0.5, 0.5)
    assert not compiled
    assert jnp.any(first != second)
    assert jnp.any(first != third)


@pytest.mark.parametrize("name", SAMPLERS)
def test_dtype_is_that_of_x(name, x):
    with jax.enable_x64(True):
        for dtype in (jnp.float32, jnp.float64):
            latents = x.astype(dtype)
            sample = jax.eval_shape(
                lambda x: run(SAMPLERS[name], TWO.denoise, x, smooth_grid(3), KEYS, eta=0.5)[0], latents
            )
            assert sample.dtype == dtype


@pytest.mark.usefixtures("float64")
def test_inverted_data_come_back():
    data = jnp.linspace(-1, 1, 21, dtype=jnp.float64)[:, None]
    keys = jax.random.split(jax.random.key(0), 21)

    def missed(steps: int) -> float:
        grid = smooth_grid(steps)

        @jax.jit
        def there_and_back(data):
            return run(SAMPLERS["ddim"], TWO.denoise, invert(TWO.denoise, data, grid), grid, keys)[0]

        return float(jnp.abs(there_and_back(data) - data).max())

    assert missed(100) < 0.6 * missed(50)
