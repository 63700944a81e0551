"""The published Glow, through our importer and our module, computes what the original computes."""

import re
from functools import partial

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


@partial(jax.jit, static_argnums=0)  # compiled once for both tests
def decoded(module, variables, latents, cond):
    return module.apply(variables, latents, cond, method="decode")


def test_encoding(golden):
    arrays, module, variables, cond = golden
    encode = jax.jit(partial(module.apply, method="encode"))
    encoded = encode(variables, arrays["in_x"], arrays["in_dequant_noise"], cond)
    np.testing.assert_allclose(encoded.bits_per_dim, arrays["out_bits_per_dim"], atol=1e-5, rtol=0)
    for level, eps in enumerate(encoded.latents):
        np.testing.assert_allclose(eps, arrays[f"out_eps{level}"], atol=2e-5, rtol=0)
    back = decoded(module, variables, encoded.latents, cond)
    np.testing.assert_allclose(back, arrays["out_reconstruction"], atol=2e-5, rtol=0)


def test_decoding(golden):
    arrays, module, variables, cond = golden
    latents = tuple(arrays[f"in_sample_eps{level}"] for level in range(module.levels))
    images = decoded(module, variables, latents, cond)
    np.testing.assert_allclose(images, arrays["out_sample"], atol=2e-5, rtol=0)


def test_data_dependent_initialisation(golden):
    arrays, module, variables, cond = golden
    params = flatten_dict(variables["params"])
    rest = {path: value for path, value in params.items() if not any(name.startswith("actnorm") for name in path)}
    assert len(rest) < len(params)
    encode = partial(module.apply, method="encode", mutable=["params"], rngs={"params": jax.random.key(0)})
    partly = variables | {"params": unflatten_dict(rest)}
    encoded, updated = jax.jit(encode)(partly, arrays["in_x"], arrays["in_dequant_noise"], cond)
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
    *seen, edge, width = weights["model/0/0/f1/l_1/W"].shape
    old, new = ((flags["depth"], *seen, edge - 1, features) for features in (width, 2 * width))
    with pytest.raises(WeightsError, match=rf"model/0/0/f1/l_1/W.*{re.escape(str(old))}.*{re.escape(str(new))}"):
        importers.glow(weights, flags | {"width": 2 * width})
