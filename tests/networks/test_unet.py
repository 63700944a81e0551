"""What a trainer of the denoiser relies on; tests/importers/test_adm.py shows that it computes what ADM computes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glowdiff.errors import ConfigError
from glowdiff.networks.plan import check_unet, default_channel_mult
from glowdiff.networks.resample import downsample, upsample
from glowdiff.networks.unet import UNet
from tests.networks.networks import random_params

MODULE = UNet(
    image_size=8, channels=32, out_channels=6, channel_mult=(1, 2), res_blocks=1, attention=(4,), head_channels=16,
    dropout=0.5, classes=3, null_class=True,
)  # fmt: skip
RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 8, 8, 3), np.float32)
T = np.array([0.0, 10.0, 500.0, 999.0], np.float32)
COND = {"label": np.array([0, 1, 2, 3], np.int32)}  # 3: none


@pytest.fixture(scope="module")
def variables():
    return {"params": random_params(MODULE, X, T, COND)}


@pytest.fixture(scope="module")
def apply():
    return jax.jit(MODULE.apply)


def test_remat_changes_nothing():
    module = MODULE.clone(channel_mult=(1,), attention=(8,))
    variables = {"params": random_params(module, X, T, COND)}

    def gradients(remat):
        @jax.jit
        @partial(jax.value_and_grad, argnums=(0, 1))
        def loss(variables, x):
            rngs = {"dropout": jax.random.key(0)}
            return jnp.square(module.clone(remat=remat).apply(variables, x, T, COND, train=True, rngs=rngs)).mean()

        return loss(variables, X)

    plain, remat = gradients(False), gradients(True)
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(remat), strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_allclose(a, b, atol=1e-6, rtol=1e-4)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(plain[1][0])), "a parameter without a gradient"


def test_parameters_depend_neither_on_remat_nor_on_the_arithmetic(apply):
    def init(module):
        return jax.jit(module.init)(jax.random.key(0), X, T, COND)

    expected, found = init(MODULE), init(MODULE.clone(remat=True, dtype=jnp.bfloat16))
    jax.tree.map(np.testing.assert_array_equal, expected, found)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(found))
    np.testing.assert_array_equal(apply(found, X, T, COND), np.zeros((*X.shape[:3], 6)), "a new network's output")


def test_bfloat16_is_close_and_returns_float32(variables, apply):
    y = jax.jit(MODULE.clone(dtype=jnp.bfloat16).apply)(variables, X, T, COND)
    assert y.dtype == jnp.float32
    exact = apply(variables, X, T, COND)
    assert float(jnp.abs(y - exact).max()) < 0.05 * float(jnp.abs(exact).max())


def test_float64_stays_float64():
    with jax.enable_x64(True):
        module = MODULE.clone(dtype=jnp.float64, param_dtype=jnp.float64)
        args = (X.astype(np.float64), T.astype(np.float64), COND)
        y, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), *args)
    assert {leaf.dtype for leaf in jax.tree.leaves((y, variables))} == {jnp.dtype("float64")}


def test_dropout_is_for_training_only(variables, apply):
    trained = jax.jit(lambda key: MODULE.apply(variables, X, T, COND, train=True, rngs={"dropout": key}))
    one, same, other = (trained(jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3
    np.testing.assert_array_equal(apply(variables, X, T, COND), apply(variables, X, T, COND))


def test_examples_are_independent_and_told_of_time_and_class(variables, apply):
    y = apply(variables, X, T, COND)
    np.testing.assert_allclose(apply(variables, X[::-1], T[::-1], {"label": COND["label"][::-1]}), y[::-1], atol=1e-5)
    for cond, t in (({"label": np.zeros(4, np.int32)}, T), (COND, T + 1)):
        changed = np.abs(apply(variables, X, t, cond) - y).max((1, 2, 3)) > 1e-4
        np.testing.assert_array_equal(changed, [t is not T, True, True, True])


def test_the_class_that_stands_for_none_has_a_row(variables):
    assert variables["params"]["label_embed"]["embedding"].shape == (4, 128)


def test_convolutions_may_change_sizes():
    module = MODULE.clone(updown=False)
    y, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), X, T, COND)
    assert y.shape == (4, 8, 8, 6)
    names = {name for name in variables["params"] if name.endswith(("_up", "_down"))}
    assert names == {"input_blocks_2_down", "output_blocks_1_up"}


def test_resampling():
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(downsample(x)[0, :, :, 0], [[2.5, 4.5], [10.5, 12.5]])
    np.testing.assert_array_equal(downsample(upsample(x)), x)
    np.testing.assert_array_equal(upsample(x)[0, 0, :, 0], [0, 0, 1, 1, 2, 2, 3, 3])


def test_images_of_another_size_attend_after_as_many_halvings(variables):
    y = jax.eval_shape(MODULE.apply, variables, jnp.zeros((1, 16, 24, 3)), T[:1], {"label": COND["label"][:1]})
    assert y.shape == (1, 16, 24, 6)


def test_impossible_images_and_missing_conditions(variables):
    with pytest.raises(ValueError, match=r"halved 1 times; their sides must be multiples of 2, not 8x7"):
        MODULE.apply(variables, X[:, :, :7], T, COND)
    with pytest.raises(ValueError, match=r"model\.network\.heads is 3, which does not divide"):
        MODULE.clone(head_channels=None, heads=3).apply(variables, X, T, COND)
    with pytest.raises(ValueError, match="cond must hold 'label'; it holds nothing"):
        MODULE.apply(variables, X, T)
    with pytest.raises(ValueError, match="cond must hold 'small'; it holds label"):
        MODULE.clone(beside=(("small", 3),)).apply(variables, X, T, COND)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image_size": 30}, "model.network.channel_mult has 3 levels.*multiples of 4, not 30x30"),
        (
            {"channels": 48},
            "model.network.channels is 48 and .*channel_mult has 1, which makes 48 channels.*multiple of 32",
        ),
        ({"channel_mult": (0.5, 1, 2)}, "has 0.5, which makes 16 channels"),
        ({"channel_mult": ()}, "model.network.channel_mult is empty"),
        ({"attention": (12,)}, "model.network.attention has 12.* are 32, 16, 8"),
        ({"heads": 3}, "model.network.heads is 3, which does not divide the 64 channels that attend at 16x16"),
        ({"heads": 0}, "model.network.heads is 0"),
        ({"head_channels": 48}, "model.network.head_channels is 48, which does not divide the 64"),
    ],
)
def test_impossible_sizes_are_named(changed, message):
    sizes = {"image_size": 32, "channels": 32, "channel_mult": (1, 2, 2), "attention": (16,), "heads": 4}
    check_unet(**sizes)
    with pytest.raises(ConfigError, match=message):
        check_unet(**sizes | changed)


def test_default_multipliers_can_always_be_halved():
    for side in range(1, 600):
        mult = default_channel_mult(side)
        check_unet(side, 64, mult, (), 4)
    assert [default_channel_mult(side) for side in (8, 32, 96)] == [(1, 2, 2, 2), (1, 2, 2, 2), (1, 2, 3, 4)]
