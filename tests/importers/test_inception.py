"""FID's Inception, through our importer and our module, computes what the originals compute; and what is refused."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from glowdiff import importers
from glowdiff.errors import ConfigError
from glowdiff.importers.inception import INCEPTION, parse
from glowdiff.importers.mapping import WeightsError
from tests.importers.golden import check, load_features, released

RELEASED = released("released_manifests_if")["pt_inception-2015-12-05"]


def test_features_of_three_preparations():
    """One compilation: the network sees all three versions of the images as one batch."""
    arrays, flags, weights = load_features("inception_fid")
    network = parse(flags)
    module, variables = importers.inception(weights, flags)
    versions = [np.asarray(jax.jit(each)(arrays["in_images"])) for each in network.prepare().values()]
    unscaled = (lambda x: x * 128 + 128, lambda x: (x + 1) * 127.5, lambda x: x * 128 + 128)
    for key, pixels, back in zip(("tf", "pytorch", "clean"), versions, unscaled, strict=True):
        found = np.moveaxis(back(pixels), -1, 1)[:, :, ::13, ::13]
        np.testing.assert_allclose(found, arrays[f"out_resized_{key}"], atol=2.4e-3, rtol=0)
    with jax.default_matmul_precision("highest"):
        outputs = jax.jit(module.apply)(variables, np.concatenate(versions))
    by_version = {name: np.split(np.asarray(array), 3) for name, array in outputs.items()}
    for feature, version, key in (
        *(("pool3", version, f"pool3_{key}") for version, key in enumerate(("tf", "pytorch_fid", "clean"))),
        *((name, 0, name) for name in ("logits", "logits_unbiased", "spatial")),
        *((name, 1, name) for name in ("block64", "block192", "block768")),
    ):
        found = by_version[feature][version]
        np.testing.assert_allclose(found, arrays[f"out_{key}"], atol=9e-6, rtol=0, err_msg=key)


def shapes():
    return {key: tuple(shape) for key, shape in RELEASED["manifest"].items()}


def test_torchvisions_is_named():
    for other in ({"fc.weight": (1_000, 2_048)}, {"AuxLogits.fc.weight": (1_000, 768)}):
        arrays = {name: np.broadcast_to(np.float32(0), shape) for name, shape in (shapes() | other).items()}
        with pytest.raises(WeightsError, match="torchvision's Inception v3, another network than FID's"):
            INCEPTION.renamed(parse({}), arrays)
    short = shapes()
    del short["Mixed_7c.branch_pool.bn.bias"]
    with pytest.raises(WeightsError, match=r"Missing: Mixed_7c\.branch_pool\.bn\.bias"):
        check(INCEPTION, {}, weights=short)


def test_impossible_flags():
    with pytest.raises(ConfigError, match="Did you mean outputs"):
        parse({"output": 1_008})
    with pytest.raises(ConfigError, match="outputs=0"):
        parse({"outputs": 0})
