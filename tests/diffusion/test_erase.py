"""The regions that inpainting models learn to fill."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import glowdiff
from glowdiff.diffusion.conditions import rows
from glowdiff.diffusion.erase import INVERTED, NOTHING, known_masks
from glowdiff.method import conditions_of
from glowdiff.spec import DataSpec
from tests import small

KEYS = jax.random.split(jax.random.key(0), 2000)
draw = jax.jit(known_masks, static_argnums=(1, 2))
SPEC = DataSpec("colour", (8, 8, 3), 256, 1, 1)


@pytest.fixture(scope="module")
def masks() -> np.ndarray:
    return np.asarray(draw(KEYS, 16, 24))


def test_a_mask_is_zeros_and_ones_and_its_key_s_own(masks):
    assert masks.shape == (2000, 16, 24, 1)
    assert set(np.unique(masks)) == {0, 1}
    np.testing.assert_array_equal(draw(KEYS[5:7], 16, 24), masks[5:7])
    assert len(np.unique(masks.reshape(2000, -1), axis=0)) > 1000


def test_every_share_is_erased(masks):
    """Of most images a part is known; of some all that a rectangle leaves, or nothing."""
    erased = 1 - masks.mean((1, 2, 3))
    assert (erased == 1).mean() == pytest.approx(NOTHING, abs=0.03)
    assert (erased == 0).mean() < 0.001, "an image with nothing to paint teaches nothing"
    assert 0.3 < erased.mean() < 0.6
    low, high = np.quantile(erased, [0.1, 0.8])
    assert low < 0.15
    assert high > 0.6
    # A region's corner is rarely in the image's, so what stays of an inverted mask is seldom there.
    assert (1 - masks[:, 0, 0, 0]).mean() == pytest.approx(INVERTED + NOTHING, abs=0.15)


@pytest.mark.parametrize("side", [1, 2, 3])
def test_images_of_few_pixels_have_regions_too(side):
    masks = draw(KEYS[:200], side, side)
    assert masks.shape == (200, side, side, 1)
    assert set(np.unique(masks)) <= {0, 1}


@pytest.fixture(scope="module")
def model() -> glowdiff.Model:
    changes = {"model__inpaint": True, "model__class_conditional": False, "model__label_dropout": 0.0}
    return small.untrained(small.diffusion_config(**changes), SPEC)


def test_the_network_sees_what_is_known_and_where(model):
    """The loss moves the weights of every channel that the first convolution is given."""
    assert [(each.name, each.channels) for each in model.method.takes if each.channels] == [
        ("known", 3),
        ("known_mask", 1),
    ]
    batch = {"image": np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), dtype=np.uint8), "cond": {}}
    losses = jax.jit(jax.value_and_grad(lambda variables, key: model.method.loss(variables, key, batch)[0]))
    one, again, other = (losses(model.variables, jax.random.key(seed)) for seed in (0, 0, 1))
    first = next(leaf for leaf in jax.tree.leaves(one[1]) if leaf.shape == (3, 3, 7, 32))
    assert (jnp.abs(first).max((0, 1, 3)) > 0).all()
    assert one[0] == again[0] != other[0]


def test_evaluations_erase_the_same_of_an_image_in_any_batch(model):
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    told = jax.jit(lambda batch: conditions_of(model.method.takes, batch))
    whole = jax.device_get(told({"image": images, "index": np.arange(6), "cond": {}}))
    part = told({"image": images[4:], "index": np.arange(4, 6), "cond": {}})
    assert set(whole) == {"known", "known_mask"}
    for name, array in whole.items():
        assert array.dtype == np.uint8
        np.testing.assert_array_equal(array[4:], part[name])
    np.testing.assert_array_equal(whole["known"], images)


def test_pictures_with_classes_are_painted_as_such():
    spec = DataSpec("toy", (8, 8, 3), 256, 8, 8, classes=tuple("0123"))
    takes = rows(small.diffusion_config(model__inpaint=True).model, spec, spec.shape)
    batch = {"image": np.zeros((2, 8, 8, 3), np.uint8), "index": np.arange(2), "cond": {"label": np.array([3, 1])}}
    assert jax.jit(lambda batch: conditions_of(takes, batch))(batch)["label"].tolist() == [3, 1]
