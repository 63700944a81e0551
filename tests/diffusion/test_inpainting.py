"""Inpainting: what is known stays to the level, the rest is painted, and nothing new is compiled for another mask."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

import glowdiff
from glowdiff.errors import ConfigError
from glowdiff.samplers import SAMPLERS
from glowdiff.spec import DataSpec
from glowdiff.text import tokenizer as tokenizers
from tests import small

KEY = jax.random.key(0)
SPEC = DataSpec("colour", (8, 8, 3), 256, 1, 1, captions=True)
TEXT = {
    "model__text__name": "glide", "model__caption_dropout": 0.2, "model__text__context": 32, "model__text__width": 32,
    "model__text__layers": 1, "model__text__heads": 2, "model__text__vocab_size": 300,
    "model__class_conditional": False, "model__label_dropout": 0.0,
}  # fmt: skip
N = 3
MASK = np.zeros((8, 8), np.uint8)
MASK[2:7, 3:6] = 255


@pytest.fixture(scope="module")
def painter() -> glowdiff.Model:
    """A model of captioned images that is given what is known."""
    tokenizer = tokenizers.train(["a red heart", "the flag of Japan"], 300)
    return small.untrained(small.diffusion_config(model__inpaint=True, **TEXT), SPEC, tokenizer)


def pictures(spec: DataSpec, n: int = N) -> np.ndarray:
    return np.random.default_rng(1).integers(0, spec.levels, (n, *spec.shape), dtype=np.uint8)


def check(images: np.ndarray, found: np.ndarray, mask: np.ndarray) -> None:
    """Unpainted pixels are those of the images; of the others most are not."""
    painted = np.broadcast_to(mask != 0, images.shape[:-1])
    np.testing.assert_array_equal(found[~painted], images[~painted])
    assert (found[painted] != images[painted]).mean() > 0.5


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_known_pixels_stay_with_any_model_and_sampler(diffusion, classifier, sampler):
    """One that has never seen a mask; with both kinds of guidance, of which the classifier's moves the known too."""
    images = pictures(diffusion.spec)
    found = diffusion.sample(
        KEY, N, image=images, mask=MASK, sampler=sampler, label=3, guidance_scale=2.0, guides=[(classifier, 5.0)],
    )  # fmt: skip
    check(images, found, MASK)


@pytest.mark.parametrize("sampler", ["ancestral", "heun"])
def test_known_pixels_stay_with_a_model_for_it(painter, sampler):
    images = pictures(SPEC)
    check(images, painter.sample(KEY, N, image=images, mask=MASK, sampler=sampler, prompt="a red heart"), MASK)


def test_each_image_has_its_own_mask_or_all_have_one(diffusion):
    images, masks = pictures(diffusion.spec), np.zeros((N, 8, 8), bool)
    masks[0, :, :4], masks[1, 5:], masks[2] = True, True, True
    found = diffusion.sample(KEY, N, image=images, mask=masks, label=3)
    check(images, found, masks)
    # All of the last is painted: it is a sample like any other.
    assert np.abs(found[2].astype(int) - diffusion.sample(KEY, N, label=3)[2]).max() <= 1
    several = diffusion.sample(KEY, N, image=images[0], mask=MASK, label=3)
    check(np.stack([images[0]] * N), several, MASK)
    assert len(np.unique(several.reshape(N, -1), axis=0)) == N


@pytest.mark.parametrize("name", ["diffusion", "painter"])
def test_what_is_known_is_looked_at(request, name):
    """Other known pixels, other paint; what is hidden behind the mask makes no difference."""
    model = request.getfixturevalue(name)
    choices = {"mask": MASK, "label": 3} if name == "diffusion" else {"mask": MASK}
    images = pictures(model.spec)
    first = model.sample(KEY, N, image=images, **choices)
    painted = MASK != 0
    other = np.where(painted[None, ..., None], images, model.spec.levels - 1 - images).astype(np.uint8)
    assert (model.sample(KEY, N, image=other, **choices)[:, painted] != first[:, painted]).any()
    hidden = np.where(painted[None, ..., None], model.spec.levels - 1 - images, images).astype(np.uint8)
    same = model.sample(KEY, N, image=hidden, **choices)
    if name == "diffusion":
        np.testing.assert_array_equal(same, first)
    assert (same[:, ~painted] == first[:, ~painted]).all()


def test_a_film_shows_what_is_known_from_the_start(painter):
    images = pictures(SPEC)
    film = painter.sample(KEY, N, image=images, mask=MASK, frames=3)
    assert film.shape == (N, 3, 8, 8, 3)
    for frame in range(3):
        np.testing.assert_array_equal(film[:, frame][:, MASK == 0], images[:, MASK == 0])
    assert np.abs(film[:, -1].astype(int) - painter.sample(KEY, N, image=images, mask=MASK)).max() <= 1


def test_no_mask_prompt_or_scale_compiles_anything(painter):
    images = pictures(SPEC)

    def paint(image=images, mask=MASK, prompt="a red heart", guidance_scale=3.0) -> np.ndarray:
        return painter.sample(KEY, N, image=image, mask=mask, prompt=prompt, guidance_scale=guidance_scale)

    first = paint()
    with small.compilations() as compiled:
        others = [
            paint(mask=255 - MASK),
            paint(mask=np.stack([MASK.T] * N) > 0),
            paint(image=images[0]),
            paint(prompt="flag of Japan"),
            paint(prompt=["a heart", "flag", ""]),
            paint(guidance_scale=1),
        ]
    assert compiled == []
    for number, other in enumerate(others):
        assert (other != first).any(), number


def test_a_model_for_inpainting_also_draws_varies_and_encodes(painter):
    """Then nothing is known."""
    images = painter.sample(KEY, N, prompt="a red heart")
    assert images.shape == (N, 8, 8, 3)
    assert painter.encode(images, prompt="a red heart").shape == images.shape
    everything = painter.sample(KEY, N, prompt="a red heart", image=np.zeros_like(images), mask=np.ones((8, 8)))
    assert np.abs(everything.astype(int) - images).max() <= 1


def test_a_super_resolution_model_paints_what_the_small_image_shows():
    config = small.diffusion_config(
        model__low_res=4, model__inpaint=True, model__class_conditional=False, model__label_dropout=0.0
    )
    model = small.untrained(config, dataclasses.replace(SPEC, captions=False))
    images, low_res = pictures(SPEC), np.random.default_rng(2).integers(0, 256, (N, 4, 4, 3), dtype=np.uint8)
    found = model.sample(KEY, N, image=images, mask=MASK, low_res=low_res)
    check(images, found, MASK)
    assert (model.sample(KEY, N, image=images, mask=MASK, low_res=255 - low_res) != found).any()
    with pytest.raises(ConfigError, match="this model's samples depend on low_res: give low_res"):
        model.sample(KEY, N, image=images, mask=MASK)


IMAGE = np.zeros((8, 8, 1), np.uint8)
REFUSED = {
    "image and mask go together: the mask says which pixels": {"image": IMAGE},
    "image and mask go together": {"mask": MASK},
    "image is uint8 [8, 8, 3]; it must be uint8 [2, 8, 8, 1].": {"image": np.repeat(IMAGE, 3, -1), "mask": MASK},
    "image is float64 [8, 8, 1]; it must be uint8": {"image": IMAGE / 2, "mask": MASK},
    "image has values from 0 to 255; this model takes 0 to 16": {"image": MASK[..., None], "mask": MASK},
    "mask has shape [2, 4, 8]; it must be [2, 8, 8], as the images": {"image": IMAGE, "mask": MASK[:4]},
    "mask has shape [3, 8, 8]; it must be [2, 8, 8]": {"image": IMAGE, "mask": np.stack([MASK] * 3)},
    "mask is empty for image 1: nothing is to be painted; white is.": {
        "image": IMAGE, "mask": np.stack([MASK, 0 * MASK])
    },
    "images are varied (SDEdit) or painted into, not both at once": {
        "image": IMAGE, "mask": MASK, "source": IMAGE, "strength": 0.5
    },
    "prompt is given, but this model reads no captions": {"image": IMAGE, "mask": MASK, "prompt": "a red heart"},
    "strength is given, but no source that it could vary": {"strength": 0.5},
    "source is given; say with strength, 0 to 1, how far to vary it": {"source": IMAGE},
    "strength is 0; it must be above 0 and at most 1": {"source": IMAGE, "strength": 0},
    "strength is 1.5; it must be above 0": {"source": IMAGE, "strength": 1.5},
    "source is uint8 [4, 8, 1]; it must be uint8 [2, 8, 8, 1]": {"source": IMAGE[:4], "strength": 0.5},
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_is_refused(diffusion, message):
    with pytest.raises(ConfigError) as error:
        diffusion.sample(KEY, 2, **REFUSED[message])
    assert message in str(error.value)


def test_flows_do_not_edit_so(trained):
    flow = glowdiff.load(trained.workdir)
    for choices in ({"image": IMAGE, "mask": MASK}, {"source": IMAGE, "strength": 0.5}):
        with pytest.raises(ConfigError, match="diffusion models edit images so; this one is of method glow"):
            flow.sample(KEY, 2, **choices)


def test_prompts_fit_the_images(painter):
    with pytest.raises(ConfigError, match="prompt holds 2 captions for 3 images"):
        painter.sample(KEY, N, image=pictures(SPEC), mask=MASK, prompt=["a", "b"])
