"""Group normalisation is Flax's function, with Flax's parameters, and exact where the mean is large."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from glowdiff.networks.normalization import GroupNorm


@pytest.mark.parametrize("shape", [(2, 5, 3, 12), (3, 7, 12), (2, 12)])
def test_it_is_flax_s(shape):
    x = 3 * jax.random.normal(jax.random.key(0), shape) + 1
    ours, flax = GroupNorm(4), nn.GroupNorm(4, epsilon=1e-5, use_fast_variance=False)
    variables = ours.init(jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, flax.init(jax.random.key(0), x))
    variables = jax.tree.map(lambda leaf: leaf + jnp.linspace(-1, 1, 12), variables)  # no ones and zeros

    def both(module):
        return jax.value_and_grad(lambda v, x: jnp.sum(jnp.sin(module.apply(v, x))), (0, 1))(variables, x)

    for mine, theirs in zip(jax.tree.leaves(both(ours)), jax.tree.leaves(both(flax)), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


def test_a_large_mean_costs_no_digits():
    x = np.random.default_rng(0).normal(1000, 1, (1, 32, 32, 8))
    wanted = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
    ours = GroupNorm(8)
    result = ours.apply(ours.init(jax.random.key(0), x), jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(result, wanted, atol=2e-3)
