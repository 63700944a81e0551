"""Encoding and decoding gives images back."""

from __future__ import annotations

import numpy as np
import pytest

from glowdiff.data.dataset import load as load_data
from glowdiff.editing.commands import check_method
from glowdiff.editing.reconstruction import round_trip
from glowdiff.errors import ConfigError
from glowdiff.inference.model import Model


def test_a_trained_model_gives_test_images_back_within_half_a_level(digits):
    test = load_data(digits.config.data).test
    images = np.stack([test[i]["image"] for i in range(32)])
    back = round_trip(digits, images)
    np.testing.assert_array_equal(back.images, images)
    assert back.unrounded
    assert back.exact == 1
    assert back.error.shape == images.shape
    assert 0 < back.error.max() < 0.01


def test_errors_of_five_bits_count_in_levels_that_the_model_tells_apart(people):
    images, labels = people.test_images(0)
    back = round_trip(people.model, images, label=labels)
    np.testing.assert_array_equal(back.images, images // 8 * 8)
    assert back.exact == 1
    assert back.error.max() < 0.01


def test_without_images_before_rounding_errors_are_those_of_integers(digits):
    test = load_data(digits.config.data).test
    images = np.stack([test[i]["image"] for i in range(4)])
    method = digits.method._replace(draws=digits.method.draws._replace(unrounded=None))
    plain = Model(digits.trained._replace(method=method))
    back = round_trip(plain, images)
    assert not back.unrounded
    assert back.error.max() == 0


def test_methods_without_latents_of_images_are_refused(digits):
    one_way = digits.method._replace(draws=digits.method.draws._replace(encode=None))
    model = Model(digits.trained._replace(method=one_way))
    with pytest.raises(ConfigError, match="method glow has no latents of given images, so it reconstructs none"):
        round_trip(model, np.zeros((1, 8, 8, 1), np.uint8))
    check_method("temperature", "toy", one_way)
    with pytest.raises(ConfigError, match="attribute does not work with method toy, which has no latents of given"):
        check_method("attribute", "toy", one_way)
    with pytest.raises(ConfigError, match="temperature does not work with method toy, which draws no samples"):
        check_method("temperature", "toy", digits.method._replace(draws=None))
