"""`glowdiff.load`: a trained model in a script."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import glowdiff
from glowdiff.config.options import SampleOptions
from glowdiff.data.batches import eval_batches
from glowdiff.data.dataset import load as load_data
from glowdiff.errors import ConfigError
from glowdiff.method import classes
from glowdiff.metrics.bits_per_dim import make_evaluator
from glowdiff.workdir.checkpoint import CheckpointError
from tests import small


@pytest.fixture(scope="module")
def model(trained) -> glowdiff.Model:
    return glowdiff.load(trained.workdir)


@pytest.fixture(scope="module")
def pictures(model) -> np.ndarray:
    dataset = load_data(model.config.data)
    return np.stack([dataset.test[index]["image"] for index in range(16)])


@pytest.fixture(scope="module")
def conditional(tmp_path_factory) -> glowdiff.Model:
    config = small.glow_config(model__class_conditional=True, model__class_weight=0.1)
    return glowdiff.load(small.untrained_workdir(tmp_path_factory.mktemp("run") / "conditional", config, deviation=0.1))


KEY = jax.random.key(0)


def test_samples_are_pixels(model):
    images = model.sample(KEY, 6, temperature=0.7)
    assert isinstance(images, np.ndarray)
    assert (images.shape, images.dtype) == ((6, 8, 8, 1), np.uint8)
    assert images.max() <= 16
    assert len(np.unique(images.reshape(6, -1), axis=0)) == 6
    np.testing.assert_array_equal(model.sample(KEY, 6, temperature=0.7), images)
    assert (model.sample(jax.random.key(1), 6, temperature=0.7) != images).any()


def test_a_sample_depends_on_the_key_and_its_number_alone(model):
    several = model.sample(KEY, 6).astype(int)
    for n, batch in ((3, None), (6, 4), (5, 2)):
        assert np.abs(model.sample(KEY, n, batch=batch) - several[:n]).max() <= 1


def test_without_temperature_there_is_one_image(model):
    images = model.sample(KEY, 4, temperature=0)
    assert (images == images[:1]).all()
    assert (model.sample(KEY, 4) != images).any()
    # None is the configuration's.
    np.testing.assert_array_equal(model.sample(KEY, 4), model.sample(KEY, 4, temperature=1.0))


def test_latents_lead_back_to_the_image(model, pictures):
    latents = model.encode(pictures)
    assert [latent.shape for latent in jax.tree.leaves(latents)] == [(16, 4, 4, 2), (16, 2, 2, 8)]
    decoded = model.decode(latents)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, pictures)


def test_images_before_rounding_are_near_the_integers(model, pictures):
    latents = model.encode(pictures)
    unrounded = model.decode_unrounded(latents)
    assert np.abs(unrounded - pictures).max() < 0.01  # an image's latents are those of the middles of its bins
    far = jax.tree.map(lambda eps: eps * np.float32(0.9), latents)
    rounded = np.clip(np.round(model.decode_unrounded(far)), 0, 16)
    np.testing.assert_array_equal(rounded, model.decode(far))


def test_bits_per_dim_is_what_evaluation_means(model):
    dataset = load_data(model.config.data)
    whole = np.stack([dataset.test[index]["image"] for index in range(len(dataset.test))])
    bits = model.bits_per_dim(whole)
    assert bits.shape == (360,)
    evaluated = make_evaluator(model.method, model.mesh)(model.variables, eval_batches(dataset, batch=360))
    np.testing.assert_allclose(bits.mean(), evaluated, rtol=1e-5)
    # Another key draws other dequantisation noise.
    other = model.bits_per_dim(whole, key=jax.random.key(1))
    assert (other != bits).all()
    np.testing.assert_allclose(other.mean(), bits.mean(), rtol=0.05)


def test_training_reported_the_bits_per_dim_of_the_averaged_weights(trained, model, pictures):
    reported = small.log(trained.workdir)[-1]["test_bits_per_dim"]  # of the first 16 test images
    np.testing.assert_allclose(model.bits_per_dim(pictures).mean(), reported, rtol=1e-5)
    raw = glowdiff.load(trained.workdir, ema=False)
    assert raw.step == model.step == 4
    assert abs(raw.bits_per_dim(pictures).mean() - reported) > 1e-5


def test_a_step_may_be_chosen(trained, model, pictures):
    earlier = glowdiff.load(trained.workdir, step=2)
    assert earlier.step == 2
    reported = small.log(trained.workdir)[1]["test_bits_per_dim"]
    np.testing.assert_allclose(earlier.bits_per_dim(pictures).mean(), reported, rtol=1e-5)
    with pytest.raises(CheckpointError, match=r"There is no step 3 in .*; it holds \[2, 4\]"):
        glowdiff.load(trained.workdir, step=3)


def test_what_is_no_workdir_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="is not a workdir of glowdiff"):
        glowdiff.load(tmp_path)


def test_loading_changes_nothing(trained):
    before = {path: path.stat().st_mtime_ns for path in trained.workdir.rglob("*")}
    glowdiff.load(trained.workdir)
    assert {path: path.stat().st_mtime_ns for path in trained.workdir.rglob("*")} == before


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 8, 8, 3), np.uint8), r"images have shape \(2, 8, 8, 3\); this model takes \(N, 8, 8, 1\)"),
        (np.zeros((8, 8, 1), np.uint8), r"images have shape \(8, 8, 1\)"),
        (np.full((2, 8, 8, 1), 17, np.uint8), "uint8 from 17 to 17; this model takes integers 0 to 16"),
        (np.full((2, 8, 8, 1), -1), "int64 from -1 to -1"),
        (np.zeros((2, 8, 8, 1), np.float32), "images are float32 from 0.0 to 0.0; this model takes integers"),
    ],
)
def test_images_that_are_not_the_model_s_are_refused(model, images, message):
    for function in (model.encode, model.bits_per_dim):
        with pytest.raises(ValueError, match=message):
            function(images)


def test_impossible_samples_are_refused(model):
    for n, batch in ((0, None), (-1, None), (2, 0)):
        with pytest.raises(ValueError, match="must be at least 1"):
            model.sample(KEY, n, batch=batch)
    with pytest.raises(ValueError, match="this model was not trained with labels"):
        model.sample(KEY, 2, label=3)


# ---- Labels.


def test_labels_may_be_given_for_all_for_each_or_not_at_all(conditional):
    assert classes(conditional.method.takes) == 10
    for label, expected in ((3, [3] * 4), (np.array([1, 2, 3, 4]), [1, 2, 3, 4])):
        np.testing.assert_array_equal(conditional.draw(KEY, 4, label=label).labels, expected)
    drawn = conditional.draw(KEY, 60)
    assert (drawn.labels.shape, drawn.labels.dtype) == ((60,), np.int32)
    assert set(drawn.labels) == set(range(10))
    # They belong to the samples: whoever asks for them gets the same images, however many there are.
    again = conditional.draw(KEY, 60, label=drawn.labels, batch=25).images.astype(int)
    assert np.abs(again - drawn.images).max() <= 1
    np.testing.assert_array_equal(conditional.draw(KEY, 7, batch=3).labels, drawn.labels[:7])


def test_impossible_labels_are_refused(conditional):
    images = conditional.sample(KEY, 2, label=0)
    for label in (10, -1, np.array([0, 10])):
        with pytest.raises(ValueError, match=r"does not exist; this model knows 0 to 9"):
            conditional.sample(KEY, 2, label=label)
    for call in (conditional.encode, conditional.bits_per_dim):
        with pytest.raises(ValueError, match=r"class-conditional: give label=, from 0 to 9"):
            call(images)


def test_labels_reach_every_function(conditional):
    images = conditional.sample(KEY, 4, label=7)
    latents = conditional.encode(images, label=7)
    np.testing.assert_array_equal(conditional.decode(latents, label=7), images)
    assert conditional.bits_per_dim(images, label=np.arange(4)).shape == (4,)


# ---- Compilations.


def test_only_another_batch_size_compiles(conditional):
    conditional.sample(KEY, 5)
    with small.compilations() as compiled:
        conditional.sample(jax.random.key(9), 5, temperature=0.3)
        conditional.sample(jax.random.key(9), 5, temperature=1)
        conditional.sample(KEY, 15, batch=5)
    assert compiled == []
    conditional.sample(KEY, 5, label=1)
    with small.compilations() as compiled:
        conditional.sample(KEY, 5, label=2)
        conditional.sample(KEY, 5, label=np.arange(5), temperature=0.1)
    assert compiled == []
    with small.compilations() as compiled:
        conditional.sample(KEY, 6)
        conditional.sample(KEY, 6, temperature=0.2)
    assert len(compiled) == 1


# ---- The pure functions.


def test_the_functions_compose_with_jit_vmap_and_grad(model, pictures):
    method, variables = model.method, model.variables

    @jax.jit
    def warmed(key, temperatures):
        latents = method.draws.latents(key, 3)
        return jax.vmap(lambda t: method.draws.sample(variables, key, latents, {}, SampleOptions(temperature=t)))(
            temperatures
        )

    images = np.asarray(warmed(KEY, jnp.array([0.0, 0.5, 1.0])).images)
    assert images.shape == (3, 3, 8, 8, 1)
    for index, temperature in enumerate((0.0, 0.5, 1.0)):
        expected = model.sample(KEY, 3, temperature=temperature).astype(int)
        assert np.abs(images[index] - expected).max() <= 1

    batch = {"image": pictures[:4], "cond": {}}
    rest = {name: values for name, values in variables.items() if name != "params"}
    mean = lambda params: method.bits_per_dim({"params": params, **rest}, KEY, batch).mean()  # noqa: E731
    gradient = jax.jit(jax.grad(mean))(variables["params"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_latents_of_a_batch_are_those_of_its_examples(model):
    latents = model.method.draws.latents(KEY, 5)
    for example in range(5):
        one = model.method.draws.latents(jax.random.fold_in(KEY, example)[None], 1)
        jax.tree.map(lambda a, b, i=example: np.testing.assert_array_equal(a[i], b[0]), latents, one)
