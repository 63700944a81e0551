"""Glow's convolution against the one that it stands for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glowdiff.flows.nets import Conv3x3


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 4), (3, 5), (6, 7)])
def test_edge_bias_is_that_of_a_channel_on_the_padding_ring(size):
    height, width = size
    x = np.random.default_rng(0).normal(size=(2, height, width, 2)).astype(np.float32)
    conv = Conv3x3(4)
    variables = jax.jit(conv.init)(jax.random.key(1), x)

    def literal(params):
        ring = jnp.pad(jnp.zeros((2, height, width, 1)), ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=1)
        padded = jnp.concatenate([jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), ring], axis=-1)
        kernel = jnp.concatenate([params["kernel"], params["edge"]["kernel"]], axis=2)
        return jax.lax.conv_general_dilated(padded, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def ours(params):
        return conv.apply({"params": params}, x)

    @jax.jit
    def outputs_and_gradients(params):
        return [(f(params), jax.grad(lambda p, f=f: (f(p) ** 3).sum())(params)) for f in (ours, literal)]

    (y, found), (literal_y, expected) = outputs_and_gradients(variables["params"])
    np.testing.assert_allclose(y, literal_y, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-4), found, expected)
