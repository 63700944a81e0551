"""What guidance does to a prediction, and that samplers with guidance reach the posterior."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.exact import GAUSSIAN, Mixture, error, smooth_grid
from glowdiff.samplers import SAMPLERS
from glowdiff.samplers.guidance import (
    classifier_free,
    classifier_gradient,
    clip_x_0,
    dynamic_threshold,
    pairs,
    with_gradient,
)
from glowdiff.samplers.levels import Level, as_dtype, make_level, rows
from glowdiff.samplers.prediction import Prediction, from_v, from_x_0
from glowdiff.samplers.sampler import run
from tests import small

OTHER = Mixture((1.0,), (-0.4,), (0.5,))
SHAPE = (3, 4, 5)


@pytest.fixture
def x() -> jax.Array:
    return jax.random.normal(jax.random.key(0), SHAPE)


@pytest.fixture
def level() -> Level:
    return as_dtype(make_level(np.float64(600), np.float64(0.3)), jnp.float32)


def of(mixture: Mixture, x: jax.Array, level: Level) -> Prediction:
    """The prediction for every pixel by itself."""
    wide = jax.tree.map(lambda value: jnp.repeat(value, x[0].size) if value.ndim else value, level)
    found = mixture.denoise(x.reshape(-1, 1), wide)
    return jax.tree.map(lambda value: value.reshape(x.shape), found)


def both(x: jax.Array, level: Level) -> Prediction:
    """Of GAUSSIAN with a condition, of OTHER without."""
    parts = []
    for data, half in ((GAUSSIAN, slice(0, None, 2)), (OTHER, slice(1, None, 2))):
        part = jax.tree.map(lambda value, half=half: value[half] if value.ndim else value, level)
        parts.append(of(data, x[half], part)._replace(fraction=jnp.full_like(x[half], float(data is GAUSSIAN))))
    return jax.tree.map(pairs, *parts)


def consistent(prediction: Prediction, x: jax.Array, level: Level) -> None:
    np.testing.assert_allclose(level.alpha * prediction.x_0 + level.sigma * prediction.eps, x, atol=1e-5)


def test_classifier_free_guidance_leads_away_from_the_unconditional(x, level):
    scales = jnp.array([0.0, 1.0, 3.0])  # of each example
    guided = classifier_free(both, scales)(x, level)
    c, u, by = of(GAUSSIAN, x, level), of(OTHER, x, level), scales[:, None, None]
    np.testing.assert_allclose(guided.x_0, u.x_0 + by * (c.x_0 - u.x_0), rtol=1e-6)
    np.testing.assert_allclose(guided.eps, u.eps + by * (c.eps - u.eps), rtol=1e-6)
    assert guided.fraction is not None
    assert jnp.all(guided.fraction == 1)
    consistent(guided, x, level)


def test_the_levels_of_examples_are_doubled_too(x, level):
    each = jax.tree.map(lambda value: jnp.stack([value] * len(x)), level)
    one, other = (classifier_free(both, 2.0)(x, levels) for levels in (level, each))
    np.testing.assert_allclose(one.x_0, other.x_0, rtol=1e-6)


def test_one_evaluation_of_twice_the_batch(x):
    """And one only in the whole program of a sampler, whichever it is."""
    shapes = []

    def counted(x, level):
        shapes.append(x.shape)
        return both(x, level)

    for name, sampler in SAMPLERS.items():
        keys = jax.random.split(jax.random.key(0), len(x))
        shapes.clear()
        jax.make_jaxpr(lambda x, keys=keys, s=sampler: run(s, classifier_free(counted, 2.0), x, smooth_grid(5), keys))(
            x
        )
        assert set(shapes) == {(2 * len(x), *SHAPE[1:])}, name
        assert len(shapes) == 1, name


def test_another_scale_compiles_nothing(x, level):
    @jax.jit
    def guided(x, scale, low, phi, percentile):
        denoise = classifier_free(both, scale, interval=(low, 900.0), rescale=phi)
        return dynamic_threshold(denoise, percentile)(x, level).x_0

    first = guided(x, 1.5, 10.0, 0.1, 99.5)
    with small.compilations() as compiled:
        second = guided(x, 5.0, 700.0, 0.7, 90.0)
    assert not compiled
    assert jnp.any(first != second)


def test_guidance_acts_within_its_interval(x, level):
    c, guided = of(GAUSSIAN, x, level).x_0, classifier_free(both, 3.0)(x, level).x_0
    for interval, expected in [
        ((100.0, 600.0), guided),
        ((600.0, 700.0), guided),
        ((601.0, 999.0), c),
        ((0.0, 599.0), c),
    ]:
        np.testing.assert_allclose(classifier_free(both, 3.0, interval)(x, level).x_0, expected, rtol=1e-6)


def test_rescaling_restores_the_deviation(x, level):
    """That of v = alpha eps - sigma x_0, of each example."""

    def deviation(prediction: Prediction) -> jax.Array:
        return (level.alpha * prediction.eps - level.sigma * prediction.x_0).std((1, 2))

    plain, c = classifier_free(both, 4.0)(x, level), of(GAUSSIAN, x, level)
    none, whole, some = (classifier_free(both, 4.0, rescale=phi)(x, level) for phi in (0.0, 1.0, 0.7))
    np.testing.assert_allclose(none.x_0, plain.x_0, atol=1e-5)
    np.testing.assert_allclose(deviation(whole), deviation(c), rtol=1e-5)
    np.testing.assert_allclose(deviation(some), 0.7 * deviation(c) + 0.3 * deviation(plain), rtol=1e-5)
    consistent(some, x, level)


def test_a_v_of_zeros_is_rescaled_too(x):
    noise = as_dtype(make_level(np.float64(999), np.float64(0)), jnp.float32)
    found = classifier_free(lambda x, level: from_v(x, level, jnp.zeros_like(x)), 4.0, rescale=0.7)(x, noise)
    np.testing.assert_array_equal(found.x_0, jnp.zeros_like(x))


def wild(x: jax.Array, level: Level) -> Prediction:
    prediction = from_x_0(x, level, x * jnp.array([0.2, 1.0, 4.0])[:, None, None])
    return prediction._replace(fraction=x, grad=x)


def test_clipping(x, level):
    clipped = clip_x_0(wild)(x, level)
    np.testing.assert_array_equal(clipped.x_0, jnp.clip(wild(x, level).x_0, -1, 1))
    consistent(clipped, x, level)
    assert clipped.fraction is x
    assert clipped.grad is x


def test_dynamic_thresholding(x, level):
    found = dynamic_threshold(wild, 90.0)(x, level)
    for example, before in zip(found.x_0, np.asarray(wild(x, level).x_0), strict=True):
        bound = max(1.0, np.percentile(np.abs(before), 90))
        np.testing.assert_allclose(example, np.clip(before, -bound, bound) / bound, rtol=1e-5)
    consistent(found, x, level)


TARGETS = jnp.array([0.3, -0.2, 0.7])


def log_prob(x: jax.Array, level: Level) -> jax.Array:
    """Of a classifier that takes x_t for Gaussian around each example's target, but for a constant."""
    return -0.5 * ((x - TARGETS[:, None, None]) ** 2).sum((1, 2)) / 0.5


def test_a_classifier_moves_mean_and_score(x):
    grid = smooth_grid(10)
    gradient = classifier_gradient(log_prob, jnp.array([0.5, 1.0, 2.0]))

    def plain(x: jax.Array, level: Level) -> Prediction:
        return of(GAUSSIAN, x, level)

    expected = jnp.array([0.5, 1.0, 2.0])[:, None, None] * (TARGETS[:, None, None] - x) / 0.5
    found = {}
    for name in ("ancestral", "ddim"):
        turn = rows(SAMPLERS[name].plan(grid, x.dtype), 4)
        predictions = [denoise(x, turn.level) for denoise in (plain, with_gradient(plain, gradient))]
        found[name] = [SAMPLERS[name].step(x, p, turn, lambda: jnp.zeros_like(x), jnp.float32(0)) for p in predictions]
    np.testing.assert_allclose(predictions[1].grad, expected, rtol=1e-5)
    row = rows(grid, 5)
    moved = found["ancestral"][1] - found["ancestral"][0]
    np.testing.assert_allclose(moved, row.variance * expected, atol=1e-6)
    # eps - sigma * gradient, and x_0 = (x - sigma * eps) / alpha
    per_eps = row.next.sigma - row.next.alpha * row.now.ratio
    np.testing.assert_allclose(found["ddim"][1] - found["ddim"][0], -per_eps * row.now.sigma * expected, atol=1e-5)


def test_gradients_add_up(x, level):
    twice = with_gradient(with_gradient(wild, lambda x, level: x), lambda x, level: 3 * x)
    np.testing.assert_allclose(twice(x, level).grad, 5 * x, rtol=1e-6)


# Data N(0.5, 0.3^2), seen with noise of deviation 0.4 as y = -0.2: Bayes' rule says where they are.
Y, NOISE = -0.2, 0.4
PRECISION = 1 / 0.3**2 + 1 / NOISE**2
POSTERIOR = Mixture((1.0,), ((0.5 / 0.3**2 + Y / NOISE**2) / PRECISION,), (PRECISION**-0.5,))


def seen(x: jax.Array, level: Level) -> jax.Array:
    """Log p(y | x_t), but for a constant."""
    unknown = 0.3**2 * level.sigma**2 / (level.alpha**2 * 0.3**2 + level.sigma**2)
    return -0.5 * ((Y - GAUSSIAN.denoise(x, level).x_0[:, 0]) ** 2) / (unknown + NOISE**2)


guided = with_gradient(GAUSSIAN.denoise, classifier_gradient(seen, 1.0))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("name", "order"), [("ddim", 1), ("euler", 1), ("heun", 2), ("dpmpp_2m", 2), ("unipc", 3)])
def test_guidance_reaches_the_posterior(name, order):
    """Every path is that of the posterior's ODE; the last turn's prediction is the posterior's too."""
    coarse, fine = (error(SAMPLERS[name], POSTERIOR, smooth_grid(steps), guided) for steps in (80, 160))
    assert fine < {1: 1e-2, 2: 1e-3, 3: 2e-4}[order]
    assert np.log2(coarse / fine) > order - 0.25


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ["ancestral", "dpmpp_2m_sde"])
def test_noisy_guidance_reaches_the_posterior(name):
    """A shift by the posterior's variance (`fixed_small`) misses the mean by 3 / steps; by beta it does not."""
    count, grid, key = 10_000, smooth_grid(100, "fixed_large"), jax.random.key(2)
    x, keys = jax.random.normal(key, (count, 1), jnp.float64), jax.random.split(key, count)
    found = jax.jit(lambda x: run(SAMPLERS[name], guided, x, grid, keys)[0])(x)
    exact = POSTERIOR.samples(grid, count)
    assert found.mean() == pytest.approx(exact.mean(), abs=0.012)
    assert found.std() == pytest.approx(exact.std(), rel=0.06)
