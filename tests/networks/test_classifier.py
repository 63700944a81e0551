"""The pools of the noisy classifier, against NumPy; its attention pool is also in tests/importers/test_adm.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glowdiff.errors import ConfigError
from glowdiff.networks.blocks import AttentionBlock, ResBlock
from glowdiff.networks.classifier import Classifier
from tests.networks.networks import random_params

MODULE = Classifier(
    image_size=8, channels=32, out_channels=5, channel_mult=(1, 2), res_blocks=1, attention=(4,), head_channels=16
)
X = np.random.default_rng(0).standard_normal((2, 8, 8, 3), np.float32)
T = np.array([3.0, 700.0], np.float32)


def silu(x):
    return x / (1 + np.exp(-x))


def group_norm(x, params):
    groups = x.reshape(len(x), -1, 32, x.shape[-1] // 32)
    mean, variance = groups.mean((1, 3), keepdims=True), groups.var((1, 3), keepdims=True)
    return ((groups - mean) / np.sqrt(variance + 1e-5)).reshape(x.shape) * params["scale"] + params["bias"]


def linear(x, params):
    return x @ params["kernel"] + params["bias"]


def adaptive(params, seen):
    return linear(silu(group_norm(seen[-1], params["norm_out"])).mean((1, 2)), params["logits"])


def attention(params, seen):
    h = silu(group_norm(seen[-1], params["norm_out"])).reshape(2, 16, 64)
    h = np.concatenate([h.mean(1, keepdims=True), h], 1) + params["pool"]["positional_embedding"]
    qkv = linear(h, params["pool"]["qkv"])
    heads = []
    for head in range(4):
        query, key, value = (qkv[:, :, 64 * i + 16 * head :][:, :, :16] for i in range(3))
        weights = np.exp(query[:, :1] @ key.transpose(0, 2, 1) / 4)
        heads.append((weights / weights.sum(-1, keepdims=True) @ value)[:, 0])
    return linear(np.concatenate(heads, -1), params["pool"]["proj_out"])


def means(seen):
    return np.concatenate([h.mean((1, 2)) for h in seen], -1)


def spatial(params, seen):
    return linear(np.maximum(linear(means(seen), params["hidden"]), 0), params["logits"])


def spatial_v2(params, seen):
    return linear(silu(group_norm(linear(means(seen), params["hidden"]), params["norm_out"])), params["logits"])


@pytest.mark.parametrize("pool", [adaptive, attention, spatial, spatial_v2])
def test_pools(pool):
    module = MODULE.clone(pool=pool.__name__)
    params = random_params(module, X, T)

    @jax.jit
    def apply(x):

        def keep(layer, _):
            return isinstance(layer, ResBlock | AttentionBlock) or layer.name == "input_blocks_0"

        return module.apply({"params": params}, x, T, capture_intermediates=keep, mutable=["intermediates"])

    logits, kept = apply(X)
    blocks = ("input_blocks_0", "input_blocks_1_res", "input_blocks_2_down", "input_blocks_3_attention", "middle_res_1")
    seen = [np.asarray(kept["intermediates"][name]["__call__"][0], np.float64) for name in blocks]
    assert logits.shape == (2, 5)
    np.testing.assert_allclose(logits, pool(params, seen), atol=1e-4)


def test_bfloat16_returns_float32_logits():
    module = MODULE.clone(dtype=jnp.bfloat16, remat=True)
    assert jax.eval_shape(module.init_with_output, jax.random.key(0), X, T)[0].dtype == jnp.float32


def test_impossible_classifiers():
    with pytest.raises(ConfigError, match=r"model\.network\.pool is 'mean'; it must be one of adaptive, attention"):
        jax.eval_shape(MODULE.clone(pool="mean").init, jax.random.key(0), X, T)
