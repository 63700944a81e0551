"""The published ADM networks, through our importer and our modules, compute what the original computes."""

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

    @jax.jit
    @jax.value_and_grad
    def both(x):
        logits = module.apply(variables, x, arrays["in_t"])
        return jax.nn.log_softmax(logits)[jnp.arange(len(label)), label].sum()

    np.testing.assert_allclose(
        jax.jit(module.apply)(variables, arrays["in_x"], arrays["in_t"]), arrays["out_logits"], atol=5e-7, rtol=0
    )
    np.testing.assert_allclose(both(arrays["in_x"])[1], arrays["out_grad_log_p_y"], atol=1e-7, rtol=0)


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


@pytest.mark.parametrize(
    ("pool", "ends"),
    [
        ("adaptive", {"0.weight": (64,), "0.bias": (64,), "3.weight": (10, 64, 1, 1), "3.bias": (10,)}),
        ("spatial", {"0.weight": (2048, 352), "0.bias": (2048,), "2.weight": (10, 2048), "2.bias": (10,)}),
        (
            "spatial_v2",
            {
                "0.weight": (2048, 352), "0.bias": (2048,), "1.weight": (2048,), "1.bias": (2048,),
                "3.weight": (10, 2048), "3.bias": (10,),
            },
        ),
    ],
)  # fmt: skip
def test_classifiers_with_other_pools(pool, ends):
    _, flags, weights = load_torch("adm_classifier_attention")
    shapes = {key: weight.shape for key, weight in weights.items() if not key.startswith("out.")}
    check(ADM, flags | {"pool": pool}, weights=shapes | {f"out.{key}": shape for key, shape in ends.items()})


def test_wrong_weights_are_named():
    _, flags, weights = load_torch("adm_unet_plain")
    shapes = {key: weight.shape for key, weight in weights.items()}
    short = {key: shape for key, shape in shapes.items() if key != "out.2.bias"}
    with pytest.raises(WeightsError, match=r"Missing: out\.2\.bias"):
        check(ADM, flags, weights=short)
    with pytest.raises(WeightsError, match=r"Not expected: out\.3\.bias"):
        check(ADM, flags, weights=shapes | {"out.3.bias": (3,)})
    with pytest.raises(WeightsError, match=r"out\.2\.weight: \(3, 3, 32, 4\), where the flags ask for \(3, 3, 32, 3\)"):
        check(ADM, flags, weights=shapes | {"out.2.weight": (4, 32, 3, 3)})
    with pytest.raises(ConfigError, match=r"that cannot be: model\.heads is 3, which does not divide the 64 channels"):
        check(ADM, flags | {"num_heads": 3}, weights=shapes)
