"""What classifier-free guidance leads away from, in words."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import glowdiff
from glowdiff.errors import ConfigError
from tests import small

KEY = jax.random.key(0)
HEART, FLAG, CIRCLE, HAND = small.CAPTIONS


@pytest.fixture(scope="module")
def model(cascaded) -> glowdiff.Model:
    """Guided, as configured."""
    return glowdiff.load(cascaded.base)


@pytest.fixture(scope="module")
def cascade(cascaded) -> glowdiff.Cascade:
    """Whose upsampler is told every caption, and not guided."""
    return glowdiff.load_cascade(cascaded.base, cascaded.upsampler)


def drawn(model: Any, *, seed: int = 0, **choices: Any) -> np.ndarray:
    return model.sample(jax.random.key(seed), n=2, **choices).astype(int)


def same(one: np.ndarray, other: np.ndarray) -> None:
    np.testing.assert_allclose(one, other, atol=1)


def test_it_is_the_caption_that_guidance_leads_away_from(model):
    """u + s (c - u), with the prediction of the negative prompt for u."""
    to_heart = drawn(model, prompt=HEART, guidance_scale=1)
    same(drawn(model, prompt=HEART, negative_prompt=HEART, guidance_scale=7), to_heart)
    same(drawn(model, prompt=FLAG, negative_prompt=HEART, guidance_scale=0), to_heart)
    away, plain = drawn(model, prompt=HEART, negative_prompt=FLAG), drawn(model, prompt=HEART)
    assert np.abs(away - plain).max() > 1
    same(drawn(model, prompt=HEART, negative_prompt=""), plain)


def test_each_image_has_its_own_or_all_have_one(model):
    prompts, negatives = [HEART, FLAG], [CIRCLE, HAND]
    both = drawn(model, prompt=prompts, negative_prompt=negatives)
    same(drawn(model, prompt=prompts, negative_prompt=CIRCLE)[:1], both[:1])
    same(drawn(model, prompt=prompts, negative_prompt=HAND)[1:], both[1:])
    same(drawn(model, prompt=prompts, negative_prompt=negatives, batch=1), both)


def test_no_negative_prompt_compiles_anything(model):
    def draw(**choices: Any) -> np.ndarray:
        return drawn(model, prompt=HEART, **choices)

    first = draw()
    with small.compilations() as compiled:
        others = [draw(negative_prompt=FLAG), draw(negative_prompt=[FLAG, HAND]), draw(negative_prompt=CIRCLE)]
    assert compiled == []
    for other in others:
        assert np.abs(other - first).max() > 1


def test_it_paints_and_encodes(model):
    image, mask = np.full((8, 8, 3), 99, np.uint8), np.tri(8)
    painted = [
        drawn(model, prompt=HEART, negative_prompt=each, image=image, mask=mask) for each in (FLAG, HAND)
    ]  # fmt: skip
    assert np.abs(painted[0] - painted[1]).max() > 1
    same(painted[0][:, mask == 0], np.broadcast_to(99, painted[0][:, mask == 0].shape))

    def latents(**choices: Any) -> np.ndarray:
        return np.asarray(model.encode(painted[0], prompt=HEART, steps=3, **choices))

    np.testing.assert_allclose(latents(guidance_scale=5.0, negative_prompt=HEART), latents(), atol=1e-4)
    assert np.abs(latents(guidance_scale=5.0, negative_prompt=FLAG) - latents(guidance_scale=5.0)).max() > 1e-3


def test_stages_that_are_guided_lead_away_from_it(cascade):
    images, by_itself = (drawn(cascade, prompt=HEART, negative_prompt=each) for each in (FLAG, None))
    assert np.abs(images - by_itself).max() > 1
    assert images.shape == (2, 16, 16, 3)
    with pytest.raises(ConfigError, match="no stage of this cascade reads captions and is guided away from others"):
        drawn(cascade, prompt=HEART, negative_prompt=FLAG, guidance_scale=None)


REFUSED = {
    "negative_prompt is given, but guidance_scale is not: guidance leads away": {"guidance_scale": None},
    "negative_prompt holds 3 captions for 2 images": {"negative_prompt": [HEART] * 3},
    "negative_prompt is 3, of type int; it must be text": {"negative_prompt": 3},
    "but the model reads 32": {"negative_prompt": "heart " * 40},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_is_refused(model, message):
    with pytest.raises(ConfigError) as error:
        drawn(model, **{"prompt": HEART, "negative_prompt": FLAG} | REFUSED[message])
    assert message in str(error.value)


def test_models_that_cannot_be_led_away_say_so(cascade):
    low_res = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(
        ConfigError, match=r"never been without captions \(model\.caption_dropout is 0\), so there is no"
    ):
        drawn(cascade.upsamplers[0], prompt=HEART, negative_prompt=FLAG, low_res=low_res)
    unread = small.text_config(model__text__name="none", model__caption_dropout=0.0, sampling__guidance_scale=None)
    with pytest.raises(ConfigError, match=r"negative_prompt is given, but this model reads no captions"):
        drawn(small.untrained(unread, small.COLOURS), negative_prompt=FLAG)
