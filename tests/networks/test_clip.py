"""The towers of CLIP: what each embedding may depend on; their arithmetic is pinned in tests/importers/test_clip.py."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glowdiff.networks.clip import CLIP

MODULE = CLIP(
    image_size=8, patch=4, image_width=16, image_layers=2, image_heads=2, timesteps=20, text_context=6, vocab_size=30,
    text_width=16, text_layers=2, text_heads=2, embedding=8,
)  # fmt: skip
X = np.random.default_rng(0).standard_normal((3, 8, 8, 3), np.float32)
T = np.array([0, 7, 19], np.float32)
TOKENS = np.random.default_rng(1).integers(0, 30, (3, 6)).astype(np.int32)
LENGTH = np.array([3, 6, 1])
MASK = np.arange(6)[None] < LENGTH[:, None]


@pytest.fixture(scope="module")
def variables():
    """Shaken, so that no part of it is 0 or 1 everywhere."""
    found = jax.jit(MODULE.init)(jax.random.key(0), X, T, TOKENS, MASK)
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: leaf + jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype) * 0.1, found)


def apply(module, method, variables, *args):
    return np.asarray(jax.jit(partial(module.apply, method=method))(variables, *args))


def test_both_give_unit_vectors(variables):
    for z in (apply(MODULE, "image", variables, X, T), apply(MODULE, "text", variables, TOKENS, MASK)):
        assert z.shape == (3, 8)
        np.testing.assert_allclose(np.linalg.norm(z, axis=-1), 1, rtol=1e-5)


def test_a_caption_is_what_its_tokens_say_up_to_the_last_real_one(variables):
    z = apply(MODULE, "text", variables, TOKENS, MASK)
    padded = np.where(MASK, TOKENS, 17)
    np.testing.assert_array_equal(apply(MODULE, "text", variables, padded, MASK), z)
    for position in range(6):
        changed = TOKENS.copy()
        changed[:, position] = (changed[:, position] + 1) % 30
        differs = (apply(MODULE, "text", variables, changed, MASK) != z).any(-1)
        assert differs.tolist() == (position < LENGTH).tolist()


def test_no_caption_is_one_too(variables):
    z = apply(MODULE, "text", variables, TOKENS, np.zeros_like(MASK))
    assert np.isfinite(z).all()


def test_timesteps_between_two_are_between_their_rows(variables):
    times = variables["params"]["image_tower"]["times"]
    middle = (times[7] + times[8]) / 2
    other = jax.tree.map(lambda leaf: leaf, variables)
    other["params"]["image_tower"]["times"] = times.at[3].set(middle)
    found = apply(MODULE, "image", variables, X, np.full(3, 7.5, np.float32))
    np.testing.assert_allclose(found, apply(MODULE, "image", other, X, np.full(3, 3, np.float32)), atol=1e-6)
    assert (found != apply(MODULE, "image", variables, X, np.full(3, 7, np.float32))).any()


@pytest.mark.parametrize(("start", "passes"), [(3.0, (True, True)), (np.log(100.0) + 0.1, (False, True))])
def test_the_scale_stops_at_100_and_comes_back(start, passes):
    """A step that would raise it further has no gradient there; one that lowers it has."""

    def scaled(log_scale, sign):
        return sign * MODULE.apply({"params": {"log_scale": log_scale}}, method="scale")

    np.testing.assert_allclose(scaled(jnp.float32(start), 1), min(np.exp(start), 100), rtol=1e-5)
    for sign, expected in zip((-1, 1), passes, strict=True):
        assert bool(jax.grad(scaled)(jnp.float32(start), sign)) == expected


def test_bfloat16_returns_float32_and_recomputing_changes_nothing(variables):
    half = MODULE.clone(dtype=jnp.bfloat16)
    for method, args in (("image", (X, T)), ("text", (TOKENS, MASK))):
        found = apply(half, method, variables, *args)
        assert found.dtype == np.float32
        expected = apply(MODULE, method, variables, *args)
        np.testing.assert_allclose(found, expected, atol=0.05)
        np.testing.assert_array_equal(apply(MODULE.clone(remat=True), method, variables, *args), expected)
