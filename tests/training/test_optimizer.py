"""Update rules and learning rates against their formulas."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from glowdiff.training.optimizer import learning_rate, make_optimizer, scale_by_adamax
from tests import small


def test_adamax_is_the_recursion_of_its_docstring():
    b1, b2, eps = 0.9, 0.99, 1e-8
    gradients = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    rule = scale_by_adamax(b1, b2, eps)
    state = rule.init(jnp.zeros(3))
    m, u = np.zeros(3), np.zeros(3)
    for t, g in enumerate(gradients, start=1):
        m, u = b1 * m + (1 - b1) * g, np.maximum(b2 * u, abs(g))
        expected = np.sqrt(1 - b2**t) / (1 - b1**t) * m / (u + eps)
        update, state = rule.update(jnp.asarray(g), state)
        np.testing.assert_allclose(update, expected, rtol=1e-5)
    # Not Kingma & Ba's, which has no square root.
    theirs = optax.scale_by_adamax(b1, b2, eps)
    other = theirs.init(jnp.zeros(3))
    for g in gradients:
        last, other = theirs.update(jnp.asarray(g), other)
    assert np.abs(np.asarray(last) / expected).min() > 2


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {0: 1.0, 50: 1.0, 100: 1.0}),
        ({"warmup_steps": 10}, {0: 0.1, 4: 0.5, 9: 1.0, 10: 1.0, 100: 1.0}),
        ({"warmup_steps": 1}, {0: 1.0, 1: 1.0}),
        ({"decay": "cosine"}, {0: 1.0, 25: (1 + np.sqrt(0.5)) / 2, 50: 0.5, 100: 0.0}),
        ({"decay": "linear", "warmup_steps": 20}, {0: 0.05, 19: 1.0, 20: 1.0, 60: 0.5, 100: 0.0}),
        ({"decay": "linear", "decay_steps": 50}, {0: 1.0, 25: 0.5, 50: 0.0, 80: 0.0}),
        ({"decay": "cosine", "decay_steps": 60, "warmup_steps": 20}, {10: 0.55, 20: 1.0, 40: 0.5, 60: 0.0}),
    ],
)
def test_learning_rates(settings, expected):
    changes = {f"optimizer__{key}": value for key, value in settings.items()}
    schedule = learning_rate(small.glow_config(train__steps=100, optimizer__learning_rate=1e-2, **changes))
    for step, share in expected.items():
        np.testing.assert_allclose(schedule(step), share * 1e-2, atol=1e-8, err_msg=f"step {step}")


@pytest.mark.parametrize("name", ["adam", "adamw", "adamax"])
def test_the_mean_of_gradients_may_be_kept_in_half_the_bytes(name):
    gradients = np.random.default_rng(0).normal(1, 1, size=(8, 50)).astype(np.float32)
    params = {}
    for dtype in ("float32", "bfloat16"):
        optimizer = make_optimizer(small.glow_config(optimizer__name=name, optimizer__mu_dtype=dtype))
        params[dtype] = {"kernel": jnp.ones(50)}
        state = optimizer.init(params[dtype])
        for gradient in gradients:
            updates, state = optimizer.update({"kernel": gradient}, state, params[dtype])
            params[dtype] = optax.apply_updates(params[dtype], updates)
        moments = [leaf.dtype.name for leaf in jax.tree.leaves(state) if leaf.shape]
        assert moments == [dtype, "float32"]
    whole, half = (params[dtype]["kernel"] - 1 for dtype in ("float32", "bfloat16"))
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, whole, rtol=0.03, atol=2e-5)
    assert (half != whole).any()


def moved(name: str = "kernel", **changes) -> np.ndarray:
    """Where parameters (3, 4) are after one step with gradient (30, 40)."""
    optimizer = make_optimizer(small.glow_config(optimizer__learning_rate=0.1, **changes))
    params = {name: jnp.array([3.0, 4.0])}
    updates, _ = optimizer.update({name: jnp.array([30.0, 40.0])}, optimizer.init(params), params)
    return np.asarray(optax.apply_updates(params, updates)[name])


@pytest.mark.parametrize("name", ["adam", "adamw", "adamax"])
def test_the_first_step_is_the_learning_rate_whatever_the_gradient(name):
    # sqrt(1 - b2) / (1 - b1) * (1 - b1) g / |g|: Adamax's infinity norm is not averaged, so it alone starts slowly.
    expected = 0.1 * (np.sqrt(1 - 0.999) if name == "adamax" else 1)
    np.testing.assert_allclose(moved(optimizer__name=name), [3 - expected, 4 - expected], rtol=1e-5)


def test_adamw_decays_weights_by_the_learning_rate():
    np.testing.assert_allclose(
        moved(optimizer__name="adamw", optimizer__weight_decay=0.5),
        [3 - 0.1 - 0.1 * 0.5 * 3, 4 - 0.1 - 0.1 * 0.5 * 4],
        rtol=1e-5,
    )
    # Biases and the scales that fix a flow's volume stay as they are.
    undecayed = moved("logs", optimizer__name="adamw", optimizer__weight_decay=0.5)
    np.testing.assert_allclose(undecayed, [3 - 0.1, 4 - 0.1], rtol=1e-5)


def test_gradients_are_clipped_to_the_global_norm_before_anything_else():
    optimizer = make_optimizer(small.glow_config(optimizer__name="adam", train__clip=5.0))
    params = jnp.zeros(2)
    for gradient, seen in (([30.0, 40.0], [3.0, 4.0]), ([0.3, 0.4], [0.3, 0.4])):
        _, state = optimizer.update(jnp.array(gradient), optimizer.init(params), params)
        mu = optax.tree.get(state, "mu")
        np.testing.assert_allclose(mu, 0.1 * np.array(seen), rtol=1e-5)
