"""The FLOP counter against XLA's own count, where that one can be trusted: without loops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas as pl

from benchmarks.flops import count_flops
from glowdiff.flows.build import glow_method
from glowdiff.flows.config import GlowConfig
from glowdiff.sharding import Platform
from glowdiff.spec import DataSpec


def xla_flops(function, *args):
    return jax.jit(function).lower(*args).compile().cost_analysis()["flops"]


def floats(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def conv(x, kernel, **options):
    options = {"window_strides": (1, 1), "padding": "SAME"} | options
    return jax.lax.conv_general_dilated(x, kernel, dimension_numbers=("NHWC", "HWIO", "NHWC"), **options)


def test_products_are_counted_by_hand():
    assert count_flops(jnp.matmul, floats(5, 3, 4), floats(5, 4, 7)) == 2 * 5 * 3 * 4 * 7
    assert count_flops(lambda x: jnp.einsum("bhwc,cd->bhwd", x, jnp.ones((6, 6))), floats(2, 3, 3, 6)) == 2 * 18 * 36
    assert count_flops(lambda x: jnp.tanh(x) + 1, floats(100)) == 0


CONVOLUTIONS = {
    "same": ((2, 8, 8, 5), (3, 3, 5, 7), {}),
    "valid": ((2, 8, 8, 5), (3, 3, 5, 7), {"padding": "VALID"}),
    "strided": ((2, 9, 9, 5), (3, 3, 5, 7), {"window_strides": (2, 2)}),
    "dilated": ((2, 9, 9, 5), (3, 3, 5, 7), {"rhs_dilation": (2, 2)}),
    "transposed": ((2, 8, 8, 5), (3, 3, 5, 7), {"lhs_dilation": (2, 2), "padding": ((2, 1), (2, 1))}),
    "grouped": ((2, 8, 8, 6), (3, 3, 2, 9), {"feature_group_count": 3}),
    "batch groups": ((4, 8, 8, 6), (3, 3, 6, 8), {"batch_group_count": 2}),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_count_as_in_xla(name):
    image, kernel, options = CONVOLUTIONS[name]
    function = functools.partial(conv, **options)
    # The unoptimised module: the CPU's compiler may turn a convolution into something else.
    assert count_flops(function, floats(*image), floats(*kernel)) == pytest.approx(
        jax.jit(function).lower(floats(*image), floats(*kernel)).cost_analysis()["flops"]
    )


@pytest.mark.parametrize("name", sorted(set(CONVOLUTIONS) - {"batch groups"}))
def test_gradients_of_convolutions_count_as_in_xla(name):
    image, kernel, options = CONVOLUTIONS[name]

    def gradients(x, kernel, g):
        primal, pull = jax.vjp(functools.partial(conv, **options), x, kernel)
        return primal, pull(g)  # the primal too: unused, it would be counted here and not by XLA

    out = jax.eval_shape(functools.partial(conv, **options), floats(*image), floats(*kernel))
    args = floats(*image), floats(*kernel), floats(*out.shape)
    assert count_flops(gradients, *args) == pytest.approx(
        jax.jit(gradients).lower(*args).cost_analysis()["flops"], rel=0.02
    )


def test_factorisations_are_estimated():
    n = 30
    square = floats(4, n, n)
    assert count_flops(jax.lax.linalg.lu, square) == pytest.approx(4 * 2 / 3 * n**3)
    assert count_flops(jnp.linalg.cholesky, square) == pytest.approx(4 / 3 * n**3)
    assert count_flops(jnp.linalg.qr, square) == pytest.approx(4 * 4 / 3 * n**3)
    assert count_flops(jax.scipy.linalg.solve_triangular, floats(n, n), floats(n, 7)) == n * n * 7
    assert count_flops(jnp.linalg.inv, square) == pytest.approx(4 * (2 / 3 + 2) * n**3)  # LU and two solves


def test_control_flow():
    matrix, product = floats(8, 8), 2 * 8**3

    def scanned(x):
        return jax.lax.scan(lambda c, _: (c @ x, None), x, length=5)[0]

    assert count_flops(scanned, matrix) == 5 * product
    assert count_flops(jax.checkpoint(scanned), matrix) == 5 * product
    assert count_flops(lambda x: jax.lax.cond(x[0, 0] > 0, lambda x: x @ x @ x, lambda x: x, x), matrix) == 2 * product
    with pytest.warns(UserWarning, match="not counted"):
        assert count_flops(lambda x: jax.lax.while_loop(lambda c: c.sum() < 3, lambda c: c @ x, x), matrix) == 0


def test_shard_map_counts_all_devices():
    mesh = jax.sharding.AbstractMesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("data")
    function = jax.shard_map(lambda x: x @ jnp.ones((8, 8)), mesh=mesh, in_specs=spec, out_specs=spec)
    assert count_flops(function, floats(16, 8)) == 2 * 16 * 8 * 8


def test_a_kernel_counts_once_for_each_block():
    def multiply(x, y, out):
        out[...] = x[...] @ y[...]

    rows, whole = pl.BlockSpec((8, 16), lambda i: (i, 0)), pl.BlockSpec((16, 16), lambda i: (0, 0))
    kernel = pl.pallas_call(multiply, floats(32, 16), grid=(4,), in_specs=[rows, whole], out_specs=rows)
    assert count_flops(kernel, floats(32, 16), floats(16, 16)) == 2 * 32 * 16 * 16


def glow_gradient(depth, unroll=1, levels=2):
    spec = DataSpec("noise", (8, 8, 3), 256, 100, 10)
    config = GlowConfig(levels=levels, depth=depth, width=32, lu=True, unroll=unroll)
    method = glow_method(config, spec, "float32", platform=Platform("cpu"))
    batch = {"image": jax.ShapeDtypeStruct((8, 8, 8, 3), np.uint8), "cond": {}}
    key = jax.eval_shape(jax.random.key, 0)
    variables = jax.eval_shape(method.init, key, batch)

    def gradient(params, rest, key, batch):
        return jax.grad(lambda p: method.loss({"params": p, **rest}, key, batch)[0])(params)

    rest = {name: value for name, value in variables.items() if name != "params"}
    return gradient, (variables["params"], rest, key, batch)


def test_a_glow_counts_as_in_xla_when_unrolled():
    gradient, args = glow_gradient(depth=2, unroll=2, levels=1)
    ours, theirs = count_flops(gradient, *args), xla_flops(gradient, *args)
    assert ours == pytest.approx(theirs, rel=0.1)  # XLA counts elementwise operations too


def test_twice_the_depth_costs_twice_as_much():
    four, eight = (count_flops(gradient, *args) for gradient, args in (glow_gradient(4), glow_gradient(8)))
    assert eight == pytest.approx(2 * four, rel=0.02)  # priors and edges do not repeat


def test_unrolling_changes_nothing():
    gradient, args = glow_gradient(4)
    unrolled, _ = glow_gradient(4, unroll=4)
    assert count_flops(gradient, *args) == count_flops(unrolled, *args)
