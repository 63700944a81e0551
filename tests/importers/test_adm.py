"""The published ADM networks, through our importer and our modules, compute what the original computes."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glowdiff import importers
from glowdiff.catalog.methods import build_method
from glowdiff.errors import ConfigError
from glowdiff.importers.adm import ADM, RELEASES
from glowdiff.importers.mapping import WeightsError
from glowdiff.method import batch_shapes
from tests.importers.golden import check, described, load_torch


@pytest.fixture(autouse=True)
def _precision():
    with jax.default_matmul_precision("highest"):
        yield


@pytest.mark.parametrize("name", ["adm_unet_plain", "adm_unet_updown", "adm_superres"])
def test_denoisers(name):
    arrays, flags, weights = load_torch(name)
    module, variables = importers.adm(weights, flags)
    cond = {"label": arrays["in_y"].astype(np.int32)} if "in_y" in arrays else {}
    if "in_low_res" in arrays:
        cond["low_res"] = arrays["in_low_res"]
    y = jax.jit(module.apply)(variables, arrays["in_x"], arrays["in_t"], cond)
    np.testing.assert_allclose(y, arrays["out_y"], atol=1e-5, rtol=0)


def test_classifier():
    arrays, flags, weights = load_torch("adm_classifier_attention")
    module, variables = importers.adm(weights, flags)
    label = arrays["in_y"].astype(np.int32)

    def agreement(x):
        logits = module.apply(variables, x, arrays["in_t"])
        return jax.nn.log_softmax(logits)[jnp.arange(len(label)), label].sum(), logits

    gradient, logits = jax.jit(jax.grad(agreement, has_aux=True))(arrays["in_x"])
    np.testing.assert_allclose(logits, arrays["out_logits"], atol=5e-7, rtol=0)
    np.testing.assert_allclose(gradient, arrays["out_grad_log_p_y"], atol=1e-7, rtol=0)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("cifar10_uncond_50M_500K", 52.5), ("imagenet64_uncond_100M_1500K", 121.1), ("imagenet64_cond_270M_250K", 270),
        ("upsample_cond_500K", 280), ("lsun_uncond_100M_1200K_bs128", 114), ("lsun_cat", 552.8),
    ],
)  # fmt: skip
def test_releases_without_a_manifest_have_as_many_parameters_as_they_say(name, millions):
    config, spec = described(ADM, RELEASES[name], release=name)
    method = build_method(config, spec)
    shapes = jax.eval_shape(method.init, jax.random.key(0), batch_shapes(spec, 1, method.takes))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) / 1e6 == pytest.approx(millions, rel=0.015)


@pytest.mark.parametrize("pool", ["adaptive", "spatial", "spatial_v2"])
def test_classifiers_with_other_pools(pool):
    _, flags, weights = load_torch("adm_classifier_attention")
    classes, levels = flags["out_channels"], [flags["model_channels"] * mult for mult in flags["channel_mult"]]
    last = levels[-1]
    # The means of what every input block and the middle make; all levels but the last end in a block that halves.
    means = levels[0] + sum(levels) * (flags["num_res_blocks"] + 1)
    hidden = {"0.weight": (2048, means), "0.bias": (2048,)}
    ends = {
        "adaptive": {
            "0.weight": (last,), "0.bias": (last,), "3.weight": (classes, last, 1, 1), "3.bias": (classes,)
        },
        "spatial": hidden | {"2.weight": (classes, 2048), "2.bias": (classes,)},
        "spatial_v2": hidden | {
            "1.weight": (2048,), "1.bias": (2048,), "3.weight": (classes, 2048), "3.bias": (classes,)
        },
    }  # fmt: skip
    shapes = {key: weight.shape for key, weight in weights.items() if not key.startswith("out.")}
    check(ADM, flags | {"pool": pool}, weights=shapes | {f"out.{key}": shape for key, shape in ends[pool].items()})


def test_wrong_weights_are_named():
    _, flags, weights = load_torch("adm_unet_plain")
    shapes = {key: weight.shape for key, weight in weights.items()}
    short = {key: shape for key, shape in shapes.items() if key != "out.2.bias"}
    with pytest.raises(WeightsError, match=r"Missing: out\.2\.bias"):
        check(ADM, flags, weights=short)
    with pytest.raises(WeightsError, match=r"Not expected: out\.3\.bias"):
        check(ADM, flags, weights=shapes | {"out.3.bias": (3,)})
    outputs, seen, *sides = shapes["out.2.weight"]
    wrong, right = (re.escape(str((*sides, seen, n))) for n in (outputs + 1, outputs))
    with pytest.raises(WeightsError, match=rf"out\.2\.weight: {wrong}, where the flags ask for {right}"):
        check(ADM, flags, weights=shapes | {"out.2.weight": (outputs + 1, seen, *sides)})
    with pytest.raises(
        ConfigError, match=r"that cannot be: model\.network\.heads is 7, which does not divide the \d+ channels"
    ):
        check(ADM, flags | {"num_heads": 7, "num_head_channels": -1}, weights=shapes)
