"""Squeezing: which pixel becomes which channel, and back."""

import jax
import numpy as np

from glowdiff.flows.bijections.squeeze import squeeze, squeeze_ordered, unsqueeze, unsqueeze_ordered


def test_squeeze_order_and_inverse():
    x = np.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    y = np.asarray(jax.jit(squeeze)(x))
    assert y.shape == (2, 2, 3, 12)
    for c, dh, dw in ((0, 0, 0), (2, 1, 0), (1, 0, 1)):
        np.testing.assert_array_equal(y[:, 1, 2, 4 * c + 2 * dh + dw], x[:, 2 + dh, 4 + dw, c])
    np.testing.assert_array_equal(jax.jit(unsqueeze)(y), x)


def test_ordered_squeeze_halves_into_the_colours_of_a_checkerboard():
    x = np.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    y = np.asarray(jax.jit(squeeze_ordered)(x))
    for offset, (dh, dw) in enumerate(((0, 0), (1, 1), (0, 1), (1, 0))):
        np.testing.assert_array_equal(y[..., 3 * offset : 3 * offset + 3], x[:, dh::2, dw::2])
    np.testing.assert_array_equal(jax.jit(unsqueeze_ordered)(y), x)
