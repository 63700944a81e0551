"""Images of a few pixels are convolved as all others are."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from glowdiff.networks import convolution
from glowdiff.networks.convolution import convolve
from glowdiff.networks.depthwise import depthwise

NUMBERS = ("NHWC", "HWIO", "NHWC")
PADDED = ((1, 1), (1, 1))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 2), (2, 1), (2, 2), (2, 4), (4, 4)])
def test_every_size_is_the_same_convolution(height, width, stride):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((3, height, width, 5), np.float32))
    kernel = jnp.asarray(rng.standard_normal((3, 3, 5, 7), np.float32))
    strides = (stride, stride)
    expected = jax.lax.conv_general_dilated(x, kernel, strides, PADDED, dimension_numbers=NUMBERS)
    assert_allclose(convolve(x, kernel, strides, PADDED, dimension_numbers=NUMBERS), expected, atol=1e-5)


def test_two_by_two_pixels_need_no_convolution():
    x, kernel = jnp.zeros((1, 2, 2, 4)), jnp.zeros((3, 3, 4, 4))
    traced = jax.make_jaxpr(lambda x: convolve(x, kernel, (1, 1), PADDED, dimension_numbers=NUMBERS))(x)
    assert "conv_general_dilated" not in str(traced)


def gradients(x, kernel, convolution=convolve):
    def loss(x, kernel):
        return jnp.sum(jnp.sin(convolution(x, kernel, (1, 1), PADDED, dimension_numbers=NUMBERS)))

    return jax.grad(loss, (0, 1))(x, kernel)


def test_a_gradient_in_parts_of_the_batch_is_the_whole_one(monkeypatch):
    """Five images in three parts."""
    monkeypatch.setattr(convolution, "_CACHE", 5 * 4 * 4 * 7 * 4 // 3 + 1)
    rng = np.random.default_rng(0)
    x, kernel = (jnp.asarray(rng.standard_normal(shape, np.float32)) for shape in ((5, 4, 4, 6), (3, 3, 6, 7)))
    text = str(jax.make_jaxpr(gradients)(x, kernel))
    assert text.count("conv_general_dilated[") == 2 + 1 + 3, "forward, to x, and both ways to the kernel"
    expected = gradients(x, kernel, jax.lax.conv_general_dilated)
    for found, wanted in zip(gradients(x, kernel), expected, strict=True):
        assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize(("platform", "convolutions"), [("tpu", 3), ("cuda", 3), ("cpu", 5)])
def test_only_cpus_take_parts(platform, convolutions, monkeypatch):
    monkeypatch.setattr(convolution, "_CACHE", 5 * 4 * 4 * 7 * 4 // 3 + 1)
    traced = jax.jit(gradients).trace(jnp.zeros((5, 4, 4, 6)), jnp.zeros((3, 3, 6, 7)))
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert text.count("stablehlo.convolution(") == convolutions


@pytest.mark.parametrize(("side", "kernel", "stride"), [(7, 5, 1), (8, 3, 2), (9, 5, 2), (2, 5, 2)])
def test_channels_apart(side, kernel, stride):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, side, side + 1, 6)), rng.normal(size=(kernel, kernel, 1, 6))
    x, w = x.astype(np.float32), w.astype(np.float32)
    expected = jax.lax.conv_general_dilated(
        x, w, (stride, stride), "SAME", dimension_numbers=NUMBERS, feature_group_count=6
    )
    assert_allclose(depthwise(x, w, stride), expected, atol=1e-5)
