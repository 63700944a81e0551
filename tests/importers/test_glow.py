"""The published Glow, through our importer and our module, computes what the original computes."""

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from glowdiff import importers
from glowdiff.importers.mapping import WeightsError
from tests.importers.golden import load_glow

NAMES = ("glow_affine_invconv", "glow_additive_shuffle_ycond", "glow_affine_reverse")


@pytest.fixture(scope="module", params=NAMES)
def golden(request):
    arrays, flags, weights = load_glow(request.param)
    module, variables = importers.glow(weights, flags)
    cond = {"label": arrays["in_y"].astype(np.int32)}
    return arrays, module, variables, cond


def test_encoding(golden):
    arrays, module, variables, cond = golden
    encoded = module.apply(variables, arrays["in_x"], arrays["in_dequant_noise"], cond, method="encode")
    np.testing.assert_allclose(encoded.bits_per_dim, arrays["out_bits_per_dim"], atol=1e-5, rtol=0)
    for level, eps in enumerate(encoded.latents):
        np.testing.assert_allclose(eps, arrays[f"out_eps{level}"], atol=2e-5, rtol=0)
    back = module.apply(variables, encoded.latents, cond, method="decode")
    np.testing.assert_allclose(back, arrays["out_reconstruction"], atol=2e-5, rtol=0)


def test_decoding(golden):
    arrays, module, variables, cond = golden
    latents = tuple(arrays[f"in_sample_eps{level}"] for level in range(module.levels))
    images = module.apply(variables, latents, cond, method="decode")
    np.testing.assert_allclose(images, arrays["out_sample"], atol=2e-5, rtol=0)


def test_data_dependent_initialisation(golden):
    arrays, module, variables, cond = golden
    params = flatten_dict(variables["params"])
    rest = {path: value for path, value in params.items() if not any(name.startswith("actnorm") for name in path)}
    assert len(rest) < len(params)
    encoded, updated = module.apply(
        variables | {"params": unflatten_dict(rest)},
        arrays["in_x"], arrays["in_dequant_noise"], cond, method="encode",
        mutable=["params"], rngs={"params": jax.random.key(0)},
    )  # fmt: skip
    expected = {
        key.removeprefix("out_ddi|").replace("|", "/"): a for key, a in arrays.items() if key.startswith("out_ddi|")
    }
    ours = original_names(updated["params"], module)
    assert set(expected) == set(ours)
    for key, value in expected.items():
        np.testing.assert_allclose(ours[key], value.ravel(), atol=1e-6, rtol=0, err_msg=key)
    np.testing.assert_allclose(encoded.bits_per_dim, arrays["out_ddi_bits_per_dim"], atol=1e-5, rtol=0)


def original_names(params, module):
    places = {"": ("actnorm",), "f1/l_1/": ("net", "actnorm_in"), "f1/l_2/": ("net", "actnorm_mid")}
    found = {}
    for level in range(module.levels):
        for prefix, path in places.items():
            actnorm = params[f"flows_{level}"]["steps"]
            for name in path:
                actnorm = actnorm[name]
            for step in range(module.depth):
                found[f"model/{level}/{step}/{prefix}actnorm_center/b"] = actnorm["bias"][step]
                found[f"model/{level}/{step}/{prefix}actnorm_scale/logs"] = actnorm["logs"][step]
    return found


def test_wrong_weights_are_named():
    _, flags, weights = load_glow("glow_affine_reverse")
    short = {key: value for key, value in weights.items() if key != "model/prior/p/b"}
    with pytest.raises(WeightsError, match="Missing: model/prior/p/b"):
        importers.glow(short, flags)
    with pytest.raises(WeightsError, match="Not expected: model/prior/q/b"):
        importers.glow(weights | {"model/prior/q/b": weights["model/prior/p/b"]}, flags)
    with pytest.raises(WeightsError, match=r"model/0/0/f1/l_1/W.*\(2, 3, 3, 6, 16\).*\(2, 3, 3, 6, 32\)"):
        importers.glow(weights, flags | {"width": 32})
