"""Autoencoder and discriminator in the one train step: who moves whom, when, and what is left of it in the workdir."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from glowdiff.autoencoders.method import STATISTICS
from glowdiff.catalog.methods import build_method
from glowdiff.errors import ConfigError
from glowdiff.method import Frozen, Method
from glowdiff.pictures.files import grid
from glowdiff.spec import DataSpec
from glowdiff.training.loop import train
from tests import small

PLAYERS = ("autoencoder", "discriminator")


def test_a_run_is_logged_and_shown(autoencoder_workdir, model, digits):
    lines = small.log(autoencoder_workdir)
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    names = {"reconstruction", "l1", "kl", "adversarial", "adaptive_weight", "discriminator", "logits_real"}
    assert all(names <= line.keys() and line["skipped"] == 0 for line in lines)
    assert all(0 < line["adaptive_weight"] <= 5e3 for line in lines)
    assert {"test_psnr", "test_l1"} <= lines[-1].keys()
    # Pictures show test images above their reconstructions.
    made = model.sample(jax.random.key(0), 4, original=digits[:4])
    picture = np.asarray(Image.open(autoencoder_workdir / "samples/4.png"))
    expected = grid(np.concatenate([digits[:4], made], 1), 17)
    factor = picture.shape[0] // expected.shape[0]
    np.testing.assert_array_equal(picture[::factor, ::factor], expected)


def test_a_resumed_run_is_an_uninterrupted_one(autoencoder_workdir, tmp_path):
    whole = small.autoencoder_config()
    train(small.replaced(whole, train__steps=2, pictures__images=1), tmp_path)
    train(small.replaced(whole, pictures__images=1), tmp_path)
    expected, found = small.state_of(whole, autoencoder_workdir), small.state_of(whole, tmp_path)
    assert {path for path in expected if expected[path] != found[path]} == set()
    kept = " ".join(expected)
    assert all(each in kept for each in (*PLAYERS, "batch_stats", "progress", STATISTICS))


@pytest.fixture(scope="module")
def gradients() -> Any:
    """A function of the steps that are done -> of each player its gradient; and new variables."""
    method = build_method(small.autoencoder_config(model__discriminator_start=3), small.DIGITS)
    batch = {"image": np.random.default_rng(0).integers(0, 17, (8, 8, 8, 1), dtype=np.uint8), "cond": {}}
    variables = dict(jax.jit(method.init)(jax.random.key(0), batch))

    @jax.jit
    def run(steps: jax.Array) -> Any:
        def loss(params: Any) -> Any:
            return method.loss({**variables, "params": params, "progress": {"steps": steps}}, jax.random.key(1), batch)

        (_, aux), found = jax.value_and_grad(loss, has_aux=True)(variables["params"])
        return found, aux

    return run


def test_the_discriminator_begins_at_its_step(gradients):
    before, aux = gradients(2)
    assert int(aux.updates["progress"]["steps"]) == 3
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(before["discriminator"]))
    after, aux = gradients(3)
    assert all((after["discriminator"][layer]["kernel"] != 0).any() for layer in ("conv_0", "conv_1", "conv_2"))
    # What the autoencoder hears of it has the length that the adaptive weight gives it, at the last layer.
    kernel = ("decoder", "conv_out", "kernel")
    ours, theirs = (_at(each["autoencoder"], kernel) for each in (after, before))
    assert jnp.linalg.norm(ours - theirs) == pytest.approx(0.5 * float(jnp.linalg.norm(theirs)), rel=0.02)


def _at(tree: Any, path: tuple[str, ...]) -> jax.Array:
    for name in path:
        tree = tree[name]
    return tree


def plain(**changes: Any) -> tuple[Method, Any, dict[str, Any]]:
    """A method without a discriminator, its variables, and a batch."""
    method = build_method(small.autoencoder_config(model__discriminator_weight=0.0, **changes), small.DIGITS)
    batch = {"image": np.random.default_rng(0).integers(0, 17, (8, 8, 8, 1), dtype=np.uint8), "cond": {}}
    return method, dict(jax.jit(method.init)(jax.random.key(0), batch)), batch


def test_codes_and_encoder_learn_from_each_other():
    method, variables, batch = plain(model__bottleneck__name="vq")
    assert variables["params"].keys() == {"autoencoder"}

    def loss(params: Any) -> Any:
        return method.loss({**variables, "params": params}, jax.random.key(1), batch)

    (_, aux), found = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])
    found = found["autoencoder"]
    assert (found["codebook"] != 0).any()
    assert all((leaf != 0).any() for leaf in jax.tree.leaves(found["encoder"]))
    assert 0 < float(aux.metrics["codes_used"]) <= 1
    # Latents are not quantised before they are decoded: then only rows of the codebook are seen.
    assert method.codec is not None
    z = method.codec.encode(variables, None, batch["image"])
    step = 1e-4 * jnp.ones_like(z)
    one, other = (method.codec.decode(variables, each).images for each in (z, z + step))
    np.testing.assert_array_equal(one, other)


def test_latents_have_unit_deviation_at_the_scale_that_was_measured(model, digits):
    statistics, codec = model.variables[STATISTICS], model.method.codec
    assert int(statistics.batches) == 4
    z = codec.encode(model.variables, jax.random.key(0), digits)
    assert z.shape == (16, 4, 4, 2)
    assert float(z.std()) == pytest.approx(1, abs=0.25)
    other = build_method(small.replaced(model.config, model__scale=0.5), model.spec).codec
    assert other is not None
    ratio = other.encode(model.variables, jax.random.key(0), digits) / z
    scale = float(jax.lax.rsqrt(statistics.square - statistics.mean**2))
    np.testing.assert_allclose(ratio, 0.5 / scale, rtol=1e-4)


def test_an_image_s_latents_depend_on_its_own_key(model, digits):
    codec, keys = model.method.codec, jax.random.split(jax.random.key(0), 16)
    run = jax.jit(codec.encode)
    whole, mean = (run(model.variables, key, digits) for key in (keys, None))
    np.testing.assert_allclose(run(model.variables, keys[3:5], digits[3:5]), whole[3:5], atol=1e-5)
    assert (np.abs(whole - mean) > 1e-4).mean() > 0.9
    # What is kept on disk gives the same.
    kept = codec.posterior(model.variables, digits)
    np.testing.assert_allclose(codec.draw(model.variables, keys, kept), whole, atol=1e-5)


def test_there_and_back_for_scripts(model, digits):
    latents = model.encode(digits)
    back = model.decode(latents)
    np.testing.assert_array_equal(back, model.sample(jax.random.key(0), 16, original=digits))
    np.testing.assert_allclose(np.round(model.decode_unrounded(latents)).clip(0, 16), back, atol=1)
    drawn = model.sample(jax.random.key(0), 3)
    assert drawn.shape == (3, 8, 8, 1)
    assert (drawn[0] != drawn[1]).any()


def test_perceptual_distance_is_trained_on_where_its_weights_are(tmp_path, monkeypatch):
    """With an LPIPS of two convolutions; it is copied, but neither trained nor saved."""
    monkeypatch.setattr("glowdiff.networks.lpips.STAGES", ((4,), (4,)))
    colours = DataSpec("unpublished", (8, 8, 3), 256, 0, 0)
    eyes = small.config("features", {"data.name": "unpublished", "model.network.name": "lpips"}, {})
    small.untrained_workdir(tmp_path / "lpips", eyes, colours)
    data = tmp_path / "pictures.npz"
    np.savez(data, arr_0=np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8))
    config = small.autoencoder_config(
        model__perceptual=str(tmp_path / "lpips"), model__perceptual_weight=1.0, data__name="arrays",
        data__path=str(data), train__steps=1, pictures__every=0, model__discriminator_weight=0.0,
    )  # fmt: skip
    train(config, tmp_path / "run")
    line, names = small.log(tmp_path / "run")[-1], small.state_of(config, tmp_path / "run")
    assert abs(line["reconstruction"] - 192 * line["l1"]) > 1, "the distance counts for each number of an image"
    assert not [name for name in names if "frozen" in name or "convolutions" in name]
    assert (tmp_path / "run/parts/perceptual/config.json").exists()


REFUSED = {
    "model.perceptual_weight is 1.0, which asks for LPIPS, but its weights are not here: import them (glowdiff import "
    "lpips": {"model__perceptual_weight": 1.0},
    "model.perceptual is runs/lpips, but model.perceptual_weight is 0": {"model__perceptual": "runs/lpips"},
    "train.accumulate is 2, but a discriminator": {"train__accumulate": 2},
    "model.network.channel_mult has 5 levels, so latents are 16 times smaller": {
        "model__network__channel_mult": "1,1,1,1,1"
    },
    "model.discriminator_layers is 3, which images of 8x8 pixels are too small for": {"model__discriminator_layers": 3},
    "model.network.channel_mult has 0.5, which makes 16 channels": {"model__network__channel_mult": "1,0.5"},
    "model.network.attention has 4; it must hold how many times smaller maps are than images, which is 1, 2": {
        "model__network__attention": "4"
    },
    "model.bottleneck.weight is -1.0": {"model__bottleneck__weight": -1.0},
    "model.bottleneck.codes is 1": {"model__bottleneck__name": "vq", "model__bottleneck__codes": 1},
    "model.scale is 0.0": {"model__scale": 0.0},
    "model.pixel_loss is 'l3'": {"model__pixel_loss": "l3"},
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_is_refused(message):
    with pytest.raises(ConfigError) as error:
        build_method(small.autoencoder_config(**REFUSED[message]), small.DIGITS)
    assert message in str(error.value)


def test_another_model_is_no_lpips(autoencoder_workdir):
    config = small.autoencoder_config(model__perceptual=str(autoencoder_workdir), model__perceptual_weight=1.0)
    colours = DataSpec("unpublished", (8, 8, 3), 256, 0, 0)
    frozen = {"perceptual": Frozen(build_method(small.autoencoder_config(), small.DIGITS), small.DIGITS)}
    with pytest.raises(ConfigError, match="which holds another model than LPIPS"):
        build_method(config, colours, frozen=frozen)
