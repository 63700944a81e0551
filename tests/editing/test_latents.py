"""Arithmetic on latents."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glowdiff.editing.latents import add_direction, linear, scale, spherical

SHAPES = ((4, 4, 2), (2, 2, 8))  # two levels of a Glow


def noise(seed: int, n: int = 3, dtype: type = np.float32):
    rng = np.random.default_rng(seed)
    return tuple(jnp.asarray(rng.normal(size=(n, *shape)), dtype) for shape in SHAPES)


def norms(latents) -> np.ndarray:
    """Of every example, over all levels: axes S and B of latents [*S, B, h, w, c]."""
    return np.sqrt(sum(np.square(np.asarray(leaf)).sum((-3, -2, -1)) for leaf in latents))


def of_unit_norm(latents):
    lengths = jnp.asarray(norms(latents))[:, None, None, None]
    return tuple(leaf / lengths for leaf in latents)


@pytest.mark.parametrize("interpolate", [linear, spherical])
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
def test_the_ends_of_an_interpolation_are_the_latents_themselves(interpolate, wrap):
    a, b = noise(0), noise(1)
    path = wrap(interpolate)(a, b, jnp.linspace(0, 1, 5))
    assert [leaf.shape for leaf in path] == [(5, 3, *shape) for shape in SHAPES]
    assert all(leaf.dtype == jnp.float32 for leaf in path)
    for end, expected in ((0, a), (-1, b)):
        jax.tree.map(lambda leaf, x, i=end: np.testing.assert_array_equal(leaf[i], x), path, expected)


@pytest.mark.parametrize("interpolate", [linear, spherical])
def test_a_number_is_a_path_of_one_point(interpolate):
    a, b = noise(0), noise(1)
    path = interpolate(a, b, jnp.array([0.25, 0.5]))
    for index, t in enumerate((0.25, 0.5)):
        point = interpolate(a, b, t)
        assert [leaf.shape for leaf in point] == [leaf.shape for leaf in a]
        jax.tree.map(lambda x, y, i=index: np.testing.assert_allclose(x[i], y, atol=1e-6), path, point)


def test_linear_is_the_equation():
    a, b = noise(0), noise(1)
    jax.tree.map(lambda m, x, y: np.testing.assert_allclose(m, 0.7 * x + 0.3 * y, atol=1e-6), linear(a, b, 0.3), a, b)


def test_spherical_keeps_the_norm_and_moves_at_constant_speed():
    a, b = of_unit_norm(noise(0)), of_unit_norm(noise(1))
    path = spherical(a, b, jnp.linspace(0, 1, 9))
    np.testing.assert_allclose(norms(path), 1, atol=1e-5)
    chords = norms(tuple(leaf[1:] - leaf[:-1] for leaf in path))
    np.testing.assert_allclose(chords, np.broadcast_to(chords[:1], chords.shape), rtol=1e-4)
    assert norms(linear(a, b, 0.5)).max() < 0.85  # which is what the straight line does


def test_an_angle_is_that_of_the_whole_latent_of_one_example():
    # The first example's levels are parallel, but of opposite sign: as one vector they are at right angles.
    a = (jnp.ones((2, 1, 1, 1)), jnp.ones((2, 1, 1, 1)))
    b = (jnp.ones((2, 1, 1, 1)), jnp.array([-1.0, 1.0]).reshape(2, 1, 1, 1))
    middle = spherical(a, b, 0.5)
    np.testing.assert_allclose(np.ravel(middle[0]), [np.sqrt(2), 1], rtol=1e-6)
    np.testing.assert_allclose(np.ravel(middle[1]), [0, 1], atol=1e-6)


@pytest.mark.parametrize("factor", [1.0, 1.0 + 1e-5, 2.0, -1.0, 0.0])
def test_spherical_is_linear_where_there_is_no_great_circle(factor):
    a = noise(0)
    b = jax.tree.map(lambda x: factor * x, a)
    straight, curved = linear(a, b, 0.3), spherical(a, b, 0.3)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), curved, straight)


@pytest.mark.parametrize("factor", [None, 1.0, -1.0, 0.0])
def test_gradients_are_finite(factor):
    a = noise(0)
    b = noise(1) if factor is None else jax.tree.map(lambda x: factor * x, a)

    def total(a, b, t):
        return sum((leaf**2).sum() for leaf in spherical(a, b, t))

    gradients = jax.jit(jax.grad(total, argnums=(0, 1, 2)))(a, b, 0.3)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_examples_do_not_touch_each_other():
    a, b = noise(0), noise(1)
    alone = spherical(*(jax.tree.map(lambda x: x[1:2], side) for side in (a, b)), 0.4)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x[1:2], y, atol=1e-6), spherical(a, b, 0.4), alone)


def test_a_direction_is_added_to_every_example():
    latents, direction = noise(0), tuple(leaf[0] for leaf in noise(2, 1))
    moved = jax.jit(add_direction)(latents, direction, jnp.array([-1.0, 0.0, 2.0]))
    jax.tree.map(lambda m, x: np.testing.assert_array_equal(m[1], x), moved, latents)
    jax.tree.map(
        lambda m, x, d: np.testing.assert_allclose(m[2], x + np.broadcast_to(2 * d, x.shape), atol=1e-6),
        moved, latents, direction,
    )  # fmt: skip


def test_a_temperature_multiplies_every_level():
    latents = noise(0)
    scaled = scale(latents, jnp.array([0.0, 0.7, 1.0]))
    jax.tree.map(lambda s, x: np.testing.assert_allclose(s[1], 0.7 * x, rtol=1e-6), scaled, latents)
    jax.tree.map(lambda s, x: np.testing.assert_array_equal(s[2], x), scaled, latents)
    assert not any(leaf[0].any() for leaf in scaled)


def test_half_precision_stays_half_precision():
    a, b = noise(0, dtype=jnp.bfloat16), noise(1, dtype=jnp.bfloat16)
    direction = tuple(leaf[0] for leaf in noise(2))
    for result in (linear(a, b, 0.5), spherical(a, b, 0.5), scale(a, 0.5), add_direction(a, direction, 0.5)):
        assert all(leaf.dtype == jnp.bfloat16 for leaf in result)
