"""What a trainer of Stable Diffusion's denoiser relies on; tests/importers shows that it computes what they do."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glowdiff.errors import ConfigError
from glowdiff.networks.captions import CLIPText
from glowdiff.networks.latent_unet import LatentUNet
from glowdiff.networks.ldm import LDM
from tests.networks.networks import random_params

TEXT = CLIPText("clip", vocab_size=11, context=5, width=16, layers=1, heads=2)
MODULE = LatentUNet(
    image_size=8, channels=32, out_channels=4, channel_mult=(1,), res_blocks=1, attention=(8,), heads=2, adagn=False,
    updown=False, text=TEXT, classes=3, null_class=True, label_width=16, noise_levels=7, cross_only=(0,),
    beside=(("hole", 1), ("surroundings", 4)),
)  # fmt: skip
RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 8, 8, 4), np.float32)
T = np.array([0.0, 10.0, 500.0], np.float32)
COND = {
    "tokens": RNG.integers(0, 9, (3, 5)).astype(np.int32),
    "mask": np.array([[True] * 5, [True, True, False, False, False], [False] * 5]),
    "label": np.array([0, 2, 3], np.int32),  # 3: none
    "noise_level": np.array([0, 3, 6], np.int32),
    "hole": RNG.integers(0, 2, (3, 8, 8, 1)).astype(np.float32),
    "surroundings": RNG.standard_normal(X.shape, np.float32),
}


@pytest.fixture(scope="module")
def variables():
    return {"params": random_params(MODULE, X, T, COND)}


def test_remat_changes_nothing_and_every_parameter_learns(variables):
    def gradients(remat):
        @jax.jit
        @jax.value_and_grad
        def loss(variables):
            return jnp.square(MODULE.clone(remat=remat).apply(variables, X, T, COND)).mean()

        return loss(variables)

    plain, remat = gradients(False), gradients(True)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6, rtol=1e-4), plain, remat)
    # No softmax notices the bias of keys.
    idle = [
        jax.tree_util.keystr(path)
        for path, leaf in jax.tree_util.tree_leaves_with_path(plain[1])
        if not np.any(leaf) and "['key']['bias']" not in jax.tree_util.keystr(path)
    ]
    assert idle == []


def test_bfloat16_is_close_and_returns_float32(variables):
    exact = jax.jit(MODULE.apply)(variables, X, T, COND)
    y = jax.jit(MODULE.clone(dtype=jnp.bfloat16).apply)(variables, X, T, COND)
    assert y.dtype == jnp.float32
    assert float(jnp.abs(y - exact).max()) < 0.05 * float(jnp.abs(exact).max())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cross_only": "8"}, r"cross_only has 8, where there is no attention: .*attention is '64,32,16'"),
        ({"cross_only": "all"}, "cross_only is 'all'; it must be whole numbers"),
        ({"depth": 0}, "depth is 0"),
        ({"label_width": 0}, "label_width is 0"),
    ],
)
def test_impossible_sections(changed, message):
    with pytest.raises(ConfigError, match=message):
        LDM("ldm", **changed).check("model.network")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tokenizer": "gpt2"}, r"model\.text\.tokenizer is 'gpt2'"),
        ({"activation": "relu"}, r"model\.text\.activation is 'relu'"),
        ({"padding": "start"}, r"model\.text\.padding is 'start'"),
        ({"heads": 7}, "heads is 7, which does not divide"),
    ],
)
def test_impossible_text_sections(changed, message):
    with pytest.raises(ConfigError, match=message):
        CLIPText("clip", **changed).check("model.text")
