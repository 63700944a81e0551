"""An upscaler adds noise to what it enlarges, and is told how much."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glowdiff.diffusion.augmentation import augmentation, level_row
from glowdiff.diffusion.process import DDPM
from glowdiff.errors import ConfigError
from glowdiff.method import example_keys
from tests import small

PROCESS = DDPM("ddpm", schedule="scaled_linear", beta_start=0.0001, beta_end=0.02).process()
KEYS = example_keys(jax.random.key(0), 6)


def test_the_noise_is_that_of_the_process_at_the_level():
    augment = jax.jit(augmentation(PROCESS, 1000, jnp.float32))
    image = jnp.broadcast_to(jnp.linspace(-1, 1, 6)[:, None, None, None], (6, 32, 32, 3))
    levels = np.array([0, 20, 100, 350, 700, 999], np.int32)
    noised = augment({"low_res": image, "noise_level": levels}, KEYS)
    np.testing.assert_array_equal(noised["noise_level"], levels)
    alpha_bar = PROCESS.alpha_bars[levels]
    rest = noised["low_res"] - np.sqrt(alpha_bar)[:, None, None, None] * image
    np.testing.assert_allclose(rest.std((1, 2, 3)), np.sqrt(1 - alpha_bar), rtol=0.06)
    assert np.abs(rest.mean((1, 2, 3))).max() < 0.06
    again = augment({"low_res": image[::-1], "noise_level": levels[::-1]}, KEYS[::-1])
    np.testing.assert_allclose(again["low_res"][::-1], noised["low_res"], atol=1e-6)  # an image's noise is its key's


def test_nothing_said_is_the_published_level():
    noised = augmentation(PROCESS, 1000, jnp.float32)({"low_res": jnp.zeros((6, 2, 2, 3))}, None)
    np.testing.assert_array_equal(noised["noise_level"], 20)


def test_levels_in_training_are_drawn_up_to_a_most():
    keys = example_keys(jax.random.key(1), 400)
    levels = level_row(1000, 7).of_images({}, keys)
    assert set(np.asarray(levels).tolist()) == set(range(8))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model__low_res": None}, r"model\.noise_levels is 10, but model\.low_res is off"),
        ({"model__max_noise_level": 10}, r"model\.max_noise_level 10; the first must be at most"),
        ({"model__noise_levels": 21}, r"at most model\.process\.timesteps=20"),
        ({"model__network__name": "adm"}, "networks of name adm cannot be told; ldm can"),
    ],
)
def test_what_cannot_be(changed, message):
    values = {"model__low_res": 4, "model__noise_levels": 10, "model__max_noise_level": 5, "model__text__name": "none"}
    free = {"model__caption_dropout": 0.0, "sampling__guidance_scale": None}
    with pytest.raises(ConfigError, match=message):
        small.sd_config(**values | free | changed)
