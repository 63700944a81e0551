"""Pixel values and [-1, 1]."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from glowdiff.diffusion.scaling import shrink, to_levels, to_unit


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_every_value_comes_back(levels):
    values = np.arange(levels, dtype=np.uint8)
    x = to_unit(jnp.asarray(values), levels)
    assert (x[0], x[-1]) == (-1, 1)
    np.testing.assert_array_equal(to_levels(x, levels), values)
    # What is nearer to it than to its neighbours becomes it; what is beyond the ends becomes them.
    np.testing.assert_array_equal(to_levels(x + 0.9 / (levels - 1), levels), values)
    np.testing.assert_array_equal(to_levels(jnp.array([-3.0, 3.0]), levels), [0, levels - 1])


def test_small_images_are_means_of_areas():
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype(np.float32)
    small = shrink(jnp.asarray(x), 2)
    assert small.shape == (2, 2, 2, 3)
    np.testing.assert_allclose(small[1, 0, 1, 2], x[1, :3, 3:, 2].mean(), rtol=1e-5)
