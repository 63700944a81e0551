"""SDEdit: the further from the source the stronger, and at full strength a sample like any other."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import pytest

import glowdiff
from glowdiff.data.dataset import load as load_data
from glowdiff.training.loop import train
from tests import small

KEY = jax.random.key(0)
N = 16


@pytest.fixture(scope="module")
def trained_for_longer(tmp_path_factory) -> glowdiff.Model:
    """Digits after 120 steps: enough to tell a digit from noise."""
    workdir = tmp_path_factory.mktemp("sdedit") / "run"
    config = small.diffusion_config(
        train__steps=120, train__batch=16, train__checkpoint_every=120, train__log_every=120, eval__every=0,
        pictures__every=0, optimizer__learning_rate=2e-3, model__class_conditional=False, model__label_dropout=0.0,
        sampling__steps="20",
    )  # fmt: skip
    train(config, workdir)
    return glowdiff.load(workdir, ema=False)


@pytest.fixture(scope="module")
def digits(trained_for_longer) -> np.ndarray:
    test = load_data(trained_for_longer.config.data).test
    return np.stack([test[row]["image"] for row in range(N)])


def distance(model: glowdiff.Model, images: np.ndarray, strength: float) -> float:
    varied = model.sample(KEY, len(images), source=images, strength=strength)
    assert (varied.shape, varied.dtype) == (images.shape, np.uint8)
    return float(np.abs(varied.astype(float) - images).mean())


def test_the_distance_grows_with_strength(trained_for_longer, digits):
    found = [distance(trained_for_longer, digits, strength) for strength in (0.05, 0.3, 0.6, 1)]
    assert found[0] < 1.5, "hardly a level of 17"
    assert all(a < b for a, b in itertools.pairwise(found)), found
    # Full strength is as far from the source as it is from other digits.
    assert found[-1] > 0.7 * np.abs(digits.astype(float) - digits[::-1]).mean()


@pytest.mark.parametrize("sampler", ["ancestral", "heun", "unipc"])
def test_full_strength_is_sampling_but_for_what_is_left_of_the_source(diffusion, sampler):
    """The cosine schedule leaves 1e-4 of its variance at the noisiest step."""
    images = np.random.default_rng(0).integers(0, 17, (4, 8, 8, 1), dtype=np.uint8)
    plain = diffusion.sample(KEY, 4, label=3, sampler=sampler).astype(int)
    varied = diffusion.sample(KEY, 4, label=3, sampler=sampler, source=images, strength=1)
    assert np.abs(varied - plain).mean() < 0.25


def test_a_little_strength_is_a_single_step(diffusion):
    """From the first timestep, which is the least noise that there is."""
    images = np.random.default_rng(0).integers(0, 17, (4, 8, 8, 1), dtype=np.uint8)
    first = diffusion.sample(KEY, 4, label=3, source=images, strength=1e-6)
    np.testing.assert_array_equal(first, diffusion.sample(KEY, 4, label=3, source=images, strength=0.01))


def test_one_source_for_all_other_sources_and_labels_compile_nothing(diffusion):
    images = np.random.default_rng(0).integers(0, 17, (4, 8, 8, 1), dtype=np.uint8)

    def vary(**choices) -> np.ndarray:
        return diffusion.sample(
            KEY, 4, **{"source": images, "strength": 0.5, "label": 3, "guidance_scale": 2.0} | choices
        )

    first = vary()
    with small.compilations() as compiled:
        others = [vary(source=16 - images), vary(source=images[0]), vary(label=4), vary(guidance_scale=4)]
    assert compiled == []
    for number, other in enumerate(others):
        assert (other != first).any(), number
    np.testing.assert_array_equal(others[1][0], first[0])


def test_a_film_of_it(diffusion):
    images = np.random.default_rng(0).integers(0, 17, (2, 8, 8, 1), dtype=np.uint8)
    film = diffusion.sample(KEY, 2, label=3, source=images, strength=0.5, frames=2)
    assert film.shape == (2, 2, 8, 8, 1)
