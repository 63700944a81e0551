"""Diffusion in an autoencoder's latents: all that works on pixels works through it, and it stays as it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

import glowdiff
from glowdiff.catalog.parse import override, parse, settings_of
from glowdiff.data.dataset import load as load_data
from glowdiff.diffusion.conditions import CODEC_STREAM
from glowdiff.errors import ConfigError
from glowdiff.method import example_keys, folded
from glowdiff.trained import keep_parts, restore
from glowdiff.training.experiment import build
from glowdiff.training.fine_tune import start_from
from glowdiff.training.loop import train
from glowdiff.workdir import description
from tests import small
from tests.diffusion.conftest import shaken

KEY, N = jax.random.key(0), 4
MASK = np.zeros((8, 8), np.uint8)
MASK[2:7, 3:6] = 255


@pytest.fixture(scope="module")
def workdir(autoencoder_workdir) -> Path:
    """Of a run of two steps."""
    config = small.latent_config(autoencoder_workdir, train__steps=2, eval__every=0, pictures__every=0)
    return small.once("latent", lambda folder: train(config, folder / "run")) / "run"


@pytest.fixture(scope="module")
def model(workdir) -> glowdiff.Model:
    return shaken(glowdiff.load(workdir))


@pytest.fixture(scope="module")
def calm(workdir) -> glowdiff.Model:
    """The same as it is, which hardly predicts anything yet."""
    return glowdiff.load(workdir)


@pytest.fixture(scope="module")
def painter(autoencoder_workdir, tmp_path_factory) -> glowdiff.Model:
    """A model that sees what is known."""
    folder = tmp_path_factory.mktemp("painter")
    config = small.latent_config(autoencoder_workdir, model__inpaint=True, train__steps=1, eval__every=0)
    train(config, folder)
    return shaken(glowdiff.load(folder))


@pytest.fixture(scope="module")
def digits(model) -> np.ndarray:
    test = load_data(model.config.data).test
    return np.stack([test[row]["image"] for row in range(N)])


@pytest.fixture(scope="module")
def reconstructed(autoencoder_workdir, digits) -> np.ndarray:
    return glowdiff.load(autoencoder_workdir).sample(KEY, N, original=digits)


# ---- What stays as it is.


def test_the_autoencoder_is_neither_trained_nor_averaged_nor_saved(workdir, autoencoder_workdir):
    config, _ = description.read(workdir)
    names = small.state_of(config, workdir)
    assert names
    assert not [name for name in names if "frozen" in name or "encoder" in name or "decoder" in name]
    assert [line["step"] for line in small.log(workdir)] == [1, 2]
    # Its copy is there once, without what only its own training needed.
    copy, original = restore(workdir / "parts/codec"), restore(autoencoder_workdir)
    assert copy.variables["params"].keys() == {"autoencoder"}
    assert copy.config.model.discriminator_weight == 0
    for name in ("params", "latents"):
        ours, theirs = copy.variables[name], original.variables[name]
        theirs = {"autoencoder": theirs["autoencoder"]} if name == "params" else theirs
        jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_a_workdir_that_was_moved_still_works(workdir, tmp_path):
    moved = shutil.copytree(workdir, tmp_path / "moved")
    config, spec = description.read(moved)
    absent = small.replaced(config, model__codec__workdir=str(tmp_path / "gone"))
    description.write(moved, absent, spec)
    np.testing.assert_array_equal(
        glowdiff.load(moved).sample(KEY, 2, label=3), glowdiff.load(workdir).sample(KEY, 2, label=3)
    )
    train(small.replaced(absent, train__steps=3), moved)
    assert small.steps(moved)[-1] == 3


def test_what_only_training_needs_is_left_out_before_the_copy_is_made_too(autoencoder_workdir, tmp_path):
    config = small.latent_config(autoencoder_workdir)
    fresh = build(config).frozen["codec"]
    keep_parts(config, tmp_path)
    kept = build(config, tmp_path).frozen["codec"]
    assert jax.tree.structure(fresh) == jax.tree.structure(kept)


# ---- Samples.


def test_samples_are_decoded_and_independent_of_their_batch(model):
    images = model.sample(KEY, 5, label=3, guidance_scale=2.0, batch=2)
    assert (images.shape, images.dtype) == ((5, 8, 8, 1), np.uint8)
    assert len(np.unique(images.reshape(5, -1), axis=0)) == 5
    whole = model.sample(KEY, 5, label=3, guidance_scale=2.0)
    assert np.abs(images.astype(int) - whole).max() <= 1
    assert (model.sample(KEY, 5, label=4, guidance_scale=2.0) != whole).any()


@pytest.mark.parametrize("sampler", ["ancestral", "heun"])
def test_a_source_goes_through_the_encoder(calm, digits, sampler):
    """Hardly varied it is what its latents, drawn with its key, decode to; as much as can be, it is a sample."""
    options = {"label": 3, "sampler": sampler, "source": digits, "steps": 10, "spacing": "trailing"}
    little = calm.sample(KEY, N, **options, strength=0.01)
    much = calm.sample(KEY, N, **options, strength=1.0)
    codec, keys = calm.method.codec, folded(example_keys(KEY, N), CODEC_STREAM)
    assert codec is not None
    expected = np.asarray(codec.decode(calm.variables, codec.encode(calm.variables, keys, digits)).images)
    near, far = (np.abs(each.astype(int) - expected).mean() for each in (little, much))
    assert near < 0.6
    assert near < far / 2


@pytest.mark.parametrize("name", ["model", "painter"])
def test_known_pixels_stay_and_hidden_ones_do_not_matter(request, digits, name):
    model, mask = request.getfixturevalue(name), MASK != 0
    found = model.sample(KEY, N, image=digits, mask=MASK, label=3)
    np.testing.assert_array_equal(found[:, ~mask], digits[:, ~mask])
    hidden = np.where(mask[None, ..., None], 16 - digits, digits).astype(np.uint8)
    np.testing.assert_array_equal(model.sample(KEY, N, image=hidden, mask=MASK, label=3), found)
    other = np.where(mask[None, ..., None], digits, 16 - digits).astype(np.uint8)
    assert (model.sample(KEY, N, image=other, mask=MASK, label=3)[:, mask] != found[:, mask]).any()
    # Where everything is painted anew nothing is known.
    everything = model.sample(KEY, N, image=digits, mask=np.ones((8, 8)), label=3)
    assert np.abs(everything.astype(int) - model.sample(KEY, N, label=3)).max() <= 1


def test_a_network_for_inpainting_sees_the_hole_and_what_is_around_it(painter):
    kernel = painter.variables["params"]["input_blocks_0"]["kernel"]
    assert kernel.shape[2] == 2 + 1 + 2, "noisy latents, mask, latents of the image with a hole"
    assert [each.name for each in painter.method.takes if each.channels] == ["hole", "surroundings"]
    with pytest.raises(ConfigError, match="hole is given, but this model takes no such thing"):
        painter.sample(KEY, 1, hole=np.zeros((4, 4, 1)))


def test_a_film_is_decoded(model, digits):
    film = model.sample(KEY, 2, label=3, source=digits[:2], strength=0.5, frames=2)
    assert film.shape == (2, 2, 8, 8, 1)
    last = model.sample(KEY, 2, label=3, source=digits[:2], strength=0.5)
    assert np.abs(film[:, -1].astype(int) - last).max() <= 1


def test_there_and_back_by_inversion(calm, digits, reconstructed):
    latents = calm.encode(digits, label=3, steps=20)
    assert latents.shape == (N, 4, 4, 2)
    back = calm.decode(latents, label=3, steps=20)
    assert np.abs(back.astype(int) - reconstructed).mean() < 0.5


def test_nothing_is_compiled_for_other_keys_labels_images_and_scales(model, digits):
    def paint(key=KEY, image=digits, mask=MASK, label=3, guidance_scale=2.0):
        return model.sample(key, N, image=image, mask=mask, label=label, guidance_scale=guidance_scale)

    paint()
    with small.compilations() as compiled:
        paint(key=jax.random.key(1))
        paint(image=16 - digits)
        paint(mask=255 - MASK, label=4)
        paint(guidance_scale=5.0)
    assert compiled == []


# ---- Fine-tuning.


def test_an_inpainting_model_starts_as_the_model_it_comes_from(workdir, autoencoder_workdir):
    experiment = build(small.latent_config(autoencoder_workdir, model__inpaint=True))
    state = start_from(experiment.initial_state(), experiment, str(workdir))
    kernel = np.asarray(state.variables["params"]["input_blocks_0"]["kernel"])
    before = np.asarray(restore(workdir).variables["params"]["input_blocks_0"]["kernel"])
    np.testing.assert_array_equal(kernel[:, :, :2], before)
    assert not kernel[:, :, 2:].any()


# ---- What is refused.


def test_thresholds_are_off_once_the_codec_is_chosen():
    settings = settings_of(small.diffusion_config())
    assert settings.sampling.threshold == "clip"
    override(settings, "model.codec.name", "autoencoder")
    override(settings, "model.codec.workdir", "runs/codec")
    assert parse(settings).sampling.threshold == "none"
    override(settings, "sampling.threshold", "clip")
    with pytest.raises(ConfigError, match=r"sampling\.threshold is 'clip', which keeps pixels .* works in latents"):
        parse(settings)


REFUSED = {
    "threshold is 'dynamic', which keeps pixels between black and white": {"threshold": "dynamic"},
    "guidance_from": {"guidance_from": 2.0},
}


@pytest.mark.parametrize("message", REFUSED)
def test_options_that_cannot_be(model, message):
    with pytest.raises(ConfigError, match=message):
        model.sample(KEY, 1, label=3, **REFUSED[message])


def test_guides_see_pixels_and_latents_have_no_likelihood(model, classifier, digits):
    with pytest.raises(ConfigError, match="a classifier sees pixels, but this model works in latents"):
        model.sample(KEY, 1, label=3, guides=[(classifier, 1.0)])
    with pytest.raises(ConfigError, match="works in latents, whose density says nothing of pixels"):
        model.bits_per_dim(digits, label=3)


def test_codecs_that_do_not_fit(workdir, autoencoder_workdir, tmp_path):
    with pytest.raises(ConfigError, match=r"model\.codec\.workdir is empty; it must be the workdir of an autoencoder"):
        small.latent_config("")
    with pytest.raises(ConfigError, match=r"nobody is not a workdir of glowdiff"):
        build(small.latent_config(tmp_path / "nobody"))
    with pytest.raises(ConfigError, match=r"whose model is no autoencoder"):
        build(small.latent_config(workdir))
    data = tmp_path / "colours.npz"
    np.savez(data, arr_0=np.zeros((20, 8, 8, 3), np.uint8))
    colours = {"data__name": "arrays", "data__path": str(data), "model__class_conditional": False}
    with pytest.raises(ConfigError, match=r"images with 1 channels and 17 levels; those of arrays have 3 and 256"):
        build(small.latent_config(autoencoder_workdir, **colours, model__label_dropout=0.0))
    odd = tmp_path / "odd.npz"
    np.savez(odd, arr_0=np.zeros((20, 7, 8, 1), np.uint8), levels=np.int32(17))
    with pytest.raises(ConfigError, match=r"2 times smaller than images; those of arrays have 7x8 pixels"):
        build(small.latent_config(autoencoder_workdir, **colours | {"data__path": str(odd)}, model__label_dropout=0.0))


def test_other_sizes_than_the_autoencoder_has_seen(autoencoder_workdir, tmp_path):
    data = tmp_path / "wide.npz"
    np.savez(data, arr_0=np.zeros((20, 12, 16, 1), np.uint8), levels=np.int32(17))
    config = small.latent_config(
        autoencoder_workdir, data__name="arrays", data__path=str(data), model__class_conditional=False,
        model__label_dropout=0.0,
    )  # fmt: skip
    experiment = build(config)
    assert experiment.method.codec is not None
    assert experiment.method.codec.shape == (6, 8, 2)
