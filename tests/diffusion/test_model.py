"""A trained diffusion model in a script: what may change without compiling, what each choice does, what is refused."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

import glowdiff
from glowdiff.config.options import SampleOptions, changed
from glowdiff.diffusion.build import denoising_module
from glowdiff.errors import ConfigError
from glowdiff.inference.drawer import Drawer
from glowdiff.sharding import Platform
from glowdiff.trained import Trained
from glowdiff.training.experiment import build
from tests import small

KEY = jax.random.key(0)


def test_training_left_figures_pictures_and_a_model(diffusion_workdir, diffusion):
    lines = small.log(diffusion_workdir)
    assert set(lines[-1]) >= {"loss", "mse", "vb", "test_loss"}
    assert (diffusion_workdir / "samples/4.png").exists()
    assert diffusion.step == 4


def test_a_classifier_trains_in_the_same_loop(classifier_workdir, classifier):
    assert set(small.log(classifier_workdir)[-1]) >= {"loss", "accuracy", "test_accuracy", "test_accuracy_clean"}
    assert not (classifier_workdir / "samples").exists()
    with pytest.raises(ValueError, match="classifier draws no samples: it is a guide for others"):
        classifier.sample(KEY, 4)


def test_no_number_compiles_anything(diffusion, classifier):
    def draw(seed, scale=1.0, **choices):
        usual = {"label": 3, "guidance_scale": 2.0, "eta": 0.5}
        return diffusion.sample(jax.random.key(seed), 4, guides=[(classifier, scale)], **usual | choices)

    first = draw(0)
    with small.compilations() as compiled:
        others = [
            draw(1),
            draw(0, label=4),
            draw(np.int64(0), np.float64(1), label=np.int64(3), guidance_scale=np.int64(9)),
            draw(0, 90.0),
            draw(0, eta=0),
            draw(0, 1, guidance_scale=2, eta=1),
            draw(0, guidance_to=0.5),
            draw(0, guidance_rescale=0.7),
            draw(0, temperature=0.5),
        ]
    assert compiled == []
    for number, other in enumerate(others):
        assert (other != first).any(), number
    np.testing.assert_array_equal(draw(0), first)


def test_a_sample_depends_on_its_number_alone(diffusion):
    several = diffusion.sample(KEY, 6, sampler="ancestral").astype(int)
    assert len(np.unique(several.reshape(6, -1), axis=0)) == 6
    for n, batch in ((3, None), (6, 4)):
        assert np.abs(diffusion.sample(KEY, n, batch=batch, sampler="ancestral") - several[:n]).max() <= 1


def test_a_film_ends_with_the_sample(diffusion):
    film = diffusion.sample(KEY, 3, frames=3)
    assert (film.shape, film.dtype) == ((3, 3, 8, 8, 1), np.uint8)
    assert np.abs(film[:, -1].astype(int) - diffusion.sample(KEY, 3)).max() <= 1
    assert (film[:, 0] != film[:, -1]).any()


def test_guidance_at_scale_1_changes_nothing(diffusion):
    plain = diffusion.sample(KEY, 4, label=5).astype(int)
    assert np.abs(diffusion.sample(KEY, 4, label=5, guidance_scale=1.0) - plain).max() <= 1
    # Outside its interval it is at scale 1 too: at no step here.
    nowhere = diffusion.sample(KEY, 4, label=5, guidance_scale=8.0, guidance_from=0.01, guidance_to=0.02)
    assert np.abs(nowhere - plain).max() <= 1


def test_scale_0_is_the_model_without_a_label(diffusion):
    free = diffusion.sample(KEY, 4, label="none").astype(int)
    assert np.abs(diffusion.sample(KEY, 4, label=5, guidance_scale=0.0) - free).max() <= 1


def test_images_have_latents_and_latents_images(diffusion):
    """How near they come to each other is a matter of the flow's smoothness: tests/samplers has exact ones."""
    images = diffusion.sample(KEY, 2, label=1)
    latents = diffusion.encode(images, label=1)
    assert latents.shape == (2, 8, 8, 1)
    np.testing.assert_array_equal(latents, diffusion.encode(images, label=1))
    decoded = diffusion.decode(latents, label=1)
    assert (decoded.shape, decoded.dtype) == (images.shape, np.uint8)
    assert np.abs(decoded.astype(float) - images).mean() < np.abs(decoded[::-1].astype(float) - images).mean()


def test_the_bound_is_in_bits_of_17_levels(diffusion):
    images = np.random.default_rng(0).integers(0, 17, (2, 8, 8, 1), dtype=np.uint8)
    bits = diffusion.bits_per_dim(images, label=0)
    assert bits.shape == (2,)
    assert (bits > np.log2(17)).all(), "no model codes white noise in fewer bits than it has"
    assert (diffusion.bits_per_dim(images, label=0, steps=4) != bits).all()


def test_a_step_of_the_sampler_costs_what_the_denoiser_costs(diffusion):
    """FLOPs as XLA counts them, which counts the body of a loop once; elementwise work and noise included."""
    variables, n = diffusion.variables, 64

    def counted(**changes) -> float:
        options = changed(diffusion.config.sampling, diffusion.method.draws.options, {"sampler": "ddim", **changes})
        return (
            Drawer(diffusion.method, diffusion.mesh)
            .lower(variables, n, options=options)
            .compile()
            .cost_analysis()["flops"]
        )

    def denoise(variables, x, t, label):
        module = denoising_module(diffusion.config.model, diffusion.spec, "float32", platform=Platform("cpu"))
        return module.apply({"params": variables["params"]}, x, t, {"label": label})

    x = jax.ShapeDtypeStruct((n, 8, 8, 1), np.float32)
    t, label = jax.ShapeDtypeStruct((n,), np.float32), jax.ShapeDtypeStruct((n,), np.int32)
    network = jax.jit(denoise).lower(variables, x, t, label).compile().cost_analysis()["flops"]
    assert network < counted() < 1.05 * network
    # Both halves, within what XLA counts twice or not as it fuses elementwise work of other sizes otherwise.
    assert 1.99 * network < counted(guidance_scale=2.0) < 2.05 * network


def test_a_model_enlarges_what_it_is_given():
    config = small.diffusion_config(model__low_res=4, model__class_conditional=False, model__label_dropout=0.0)
    experiment = build(config)
    variables = experiment.abstract_state().variables
    # Anything but zeros, which would not look at what is given.
    variables = jax.tree.map(
        lambda leaf: np.random.default_rng(0).normal(0, 0.1, leaf.shape).astype(leaf.dtype), variables
    )
    model = glowdiff.Model(Trained(experiment.method, variables, config, experiment.dataset.spec, experiment.mesh, 0))
    low_res = np.random.default_rng(1).integers(0, 17, (2, 4, 4, 1), dtype=np.uint8)
    latents = model.encode(model.sample(KEY, 2, low_res=low_res), low_res=low_res)
    decoded = model.decode(latents, low_res=low_res)
    assert decoded.shape == (2, 8, 8, 1)
    assert (model.decode(latents, low_res=16 - low_res) != decoded).any()
    for draw in (lambda: model.decode(latents), lambda: model.sample(KEY, 2)):
        with pytest.raises(
            ConfigError, match=r"this model's samples depend on low_res: give low_res, uint8 \[2, 4, 4, 1\]"
        ):
            draw()


REFUSED = {
    "sampeler is given, but this model takes no such thing. Did you mean sampler?": {"sampeler": "ddim"},
    "sampler is 'dimm'; it must be one of ancestral, ddim": {"sampler": "dimm"},
    "steps is '21', which asks for 21 steps, but the model's timesteps have only 20": {"steps": 21},
    "eta is -1; it is a share, from 0 to 1": {"eta": -1},
    "eta is nan; it is a share": {"eta": float("nan")},
    "temperature is inf; it must be from 0 to 100": {"temperature": float("inf")},
    "eta is None; it must be a number": {"eta": None},
    "guidance_from is 0.9, which is more than guidance_to=0.1": {
        "guidance_scale": 2.0, "guidance_from": 0.9, "guidance_to": 0.1
    },
    "eta is 0.5, but sampler is 'unipc', not ddim. Leave it at 0.0": {"sampler": "unipc", "eta": 0.5},
    "final is first, but sampler is 'euler', not ddim or plms. Leave": {"sampler": "euler", "final": "first"},
    "sampling.final is 'first', but sampling.spacing=even visits the first timestep": {
        "sampler": "plms", "final": "first"
    },
    "percentile is 90, but threshold is 'clip', not dynamic": {"percentile": 90},
    "guidance_to is 0.5, but guidance_scale is not given": {"guidance_to": 0.5},
    "low_res is given, but this model takes no such thing": {"low_res": np.zeros((2, 4, 4, 1), np.uint8)},
    "label 10 does not exist; this model knows 0 to 9": {"label": 10},
    "label is 'nothing'; it must be a number or \"none\"": {"label": "nothing"},
    "label is 3.7; it must be a whole number": {"label": 3.7},
    "label is True; it must be a whole number": {"label": True},
    "label 4294967299 does not exist": {"label": 2**32 + 3},
    "label has shape [3]; it must be one number, or [2], one for each image": {"label": np.arange(3)},
    "prompt is given, but this model reads no captions": {"prompt": "a red heart"},
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_is_refused(diffusion, message):
    with pytest.raises(ConfigError) as error:
        diffusion.sample(KEY, 2, **REFUSED[message])
    assert message in str(error.value)


def test_what_is_configured_for_a_sampler_goes_with_it():
    """An imported model ends its DDIM steps as published; other samplers of it know no such end."""
    options = SampleOptions(sampler="ddim", final="first", eta=1.0, spacing="leading", steps="4")
    used = [field.name for field in dataclasses.fields(SampleOptions)]
    euler, plms = (changed(options, used, {"sampler": name}) for name in ("euler", "plms"))
    assert (euler.final, euler.eta, euler.spacing) == ("data", 0.0, "leading")
    assert (plms.final, plms.eta) == ("first", 0.0)
    with pytest.raises(ConfigError, match=r"eta is 1\.0, but sampler is 'plms', not ddim"):
        changed(options, used, {"sampler": "plms", "eta": 1.0})


def test_zero_terminal_snr_starts_at_the_last_timestep():
    model = small.diffusion_config(model__process__zero_terminal_snr=True, model__process__prediction="v").model
    for spacing in ("leading", "leading_dpm", "karras_leading"):
        with pytest.raises(ConfigError, match=r"leaves out the last timestep, .*use sampling\.spacing=trailing"):
            model.check_sampling(SampleOptions(steps="5", spacing=spacing))


def test_a_classifier_needs_a_label_to_guide_towards(diffusion, classifier):
    with pytest.raises(ConfigError, match='label is "none", but a classifier guides towards a label'):
        diffusion.sample(KEY, 2, label="none", guides=[(classifier, 1.0)])


@pytest.mark.parametrize("label", [10, -1])
def test_labels_of_given_images_exist(diffusion, label):
    images = np.zeros((2, 8, 8, 1), np.uint8)
    for method in (diffusion.encode, diffusion.bits_per_dim):
        with pytest.raises(ConfigError, match=f"label {label} does not exist; this model knows 0 to 9"):
            method(images, label=label)
    with pytest.raises(ConfigError, match=f"label {label} does not exist"):
        diffusion.decode(np.zeros((2, 8, 8, 1), np.float32), label=label)


def test_a_guide_knows_the_model_s_noise():
    noise = small.diffusion_config().model.process
    same = small.classifier_config(model__process__schedule="squaredcos_cap_v2").model.process
    assert noise.difference(same) is None
    other = small.classifier_config(model__process__timesteps=30).model.process
    assert noise.difference(other) == "model.process.timesteps is 20 and the guide's is 30"


def test_a_model_is_no_classifier(diffusion):
    with pytest.raises(ConfigError, match="a guide is of method diffusion, which guides nothing"):
        diffusion.sample(KEY, 2, guides=[(diffusion, 1.0)])


def test_a_flow_has_no_sampler(trained):
    flow = glowdiff.load(trained.workdir)
    with pytest.raises(
        ConfigError, match=r"sampler is given, on which the samples of this model do not depend; they do on temperature"
    ):
        flow.sample(KEY, 2, sampler="ddim")
    with pytest.raises(ValueError, match="frames is given, on which the samples of this model do not depend"):
        flow.sample(KEY, 2, frames=4)
