"""Group normalisation is Flax's function, with Flax's parameters, and exact where the mean is large."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from glowdiff.networks.normalization import GroupNorm


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", [(2, 5, 3, 12), (3, 7, 12), (2, 12)])
def test_it_is_flax_s(shape, dtype):
    x = jnp.asarray(3 * jax.random.normal(jax.random.key(0), shape) + 1, dtype)
    ours, flax = GroupNorm(4), nn.GroupNorm(4, epsilon=1e-5, use_fast_variance=False)
    variables = ours.init(jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, flax.init(jax.random.key(0), x))
    variables = jax.tree.map(lambda leaf: leaf + jnp.linspace(-1, 1, 12), variables)  # no ones and zeros

    def both(module, x):
        return jax.value_and_grad(lambda v, x: jnp.sum(jnp.sin(module.apply(v, x))), (0, 1))(variables, x)

    for mine, theirs in zip(
        jax.tree.leaves(both(ours, x)), jax.tree.leaves(both(flax, x.astype("float32"))), strict=True
    ):
        tolerance = {"rtol": 1e-4, "atol": 1e-5} if mine.dtype == "float32" else {"rtol": 8e-3, "atol": 1e-4}
        np.testing.assert_allclose(np.asarray(mine, np.float32), theirs, **tolerance)


@pytest.mark.parametrize(("dtype", "mean"), [("float32", 1000), ("bfloat16", 30)])
def test_a_large_mean_costs_no_digits(dtype, mean):
    """Beyond those that bfloat16 has lost before."""
    x = np.asarray(jnp.asarray(np.random.default_rng(0).normal(mean, 1, (1, 32, 32, 8)), dtype), np.float64)
    wanted = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
    ours = GroupNorm(8)
    result = ours.apply(ours.init(jax.random.key(0), x), jnp.asarray(x, dtype))
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, wanted, atol=2e-3)
