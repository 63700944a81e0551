"""The configuration of every published ADM model: what the flags say, what configs/ says, and the released shapes."""

from __future__ import annotations

import dataclasses
import importlib

import jax
import pytest

from glowdiff.catalog.methods import build_method
from glowdiff.catalog.parse import differences, parse
from glowdiff.errors import ConfigError
from glowdiff.importers.adm import ADM, RELEASES
from glowdiff.method import batch_shapes
from tests.importers.golden import check, described, load_torch, module_of, released

RELEASED = {name: entry for name, entry in released().items() if name in RELEASES}
CONFIGS = {
    "64x64_diffusion": "adm.imagenet64",
    "128x128_diffusion": "adm.imagenet128",
    "256x256_diffusion": "adm.imagenet256",
    "512x512_diffusion": "adm.imagenet512",
    "64_256_upsampler": "adm.64_256",
    "128_512_upsampler": "adm.128_512",
    "lsun_bedroom": "adm.lsun256",
    "64x64_classifier": "adm.classifier64",
    "128x128_classifier": "adm.classifier128",
    "256x256_classifier": "adm.classifier256",
    "512x512_classifier": "adm.classifier512",
    "cifar10_uncond_50M_500K": "iddpm.cifar10",
    "imagenet64_uncond_100M_1500K": "iddpm.imagenet64",
}


def of(name):
    """A release's configuration and data."""
    return described(ADM, RELEASES[name], release=name)


def network(module):
    """What decides the function that a network is, but for what training alone sees."""
    fields = {field.name: getattr(module, field.name) for field in dataclasses.fields(module)}
    unseen = ("parent", "name", "remat")
    if module.head_channels is not None:
        fields["heads"] = None
    return type(module), {key: value for key, value in fields.items() if key not in unseen}


def test_all_releases_with_a_manifest_are_known():
    assert len(RELEASED) == 12


@pytest.mark.parametrize("name", RELEASED)
def test_the_configuration_has_the_released_shapes(name):
    config, spec = of(name)
    module, variables = check(ADM, RELEASES[name], weights=RELEASED[name]["manifest"])
    method = build_method(config, spec)
    shapes = jax.eval_shape(method.init, jax.random.key(0), batch_shapes(spec, 1, method.takes))
    assert dict(shapes) == variables
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == RELEASED[name]["parameters"]
    assert network(module_of(config, spec)) == network(module)


@pytest.mark.parametrize("name", RELEASES)
def test_the_configuration_builds_the_network_of_the_flags(name):
    flags = RELEASES[name]
    config, spec = of(name)
    module = module_of(config, spec)
    size = flags.get("large_size", flags.get("image_size"))
    sides = flags.get("attention_resolutions", flags.get("classifier_attention_resolutions"))
    assert (module.image_size, module.attention) == (size, tuple(map(int, sides.split(","))))
    assert module.channels == flags.get("num_channels", flags.get("classifier_width"))
    assert module.res_blocks == flags.get("num_res_blocks", flags.get("classifier_depth"))
    assert module.adagn == flags.get("use_scale_shift_norm", flags.get("classifier_use_scale_shift_norm"))
    assert module.updown == flags.get("resblock_updown", flags.get("classifier_resblock_updown"))
    assert (module.dropout, module.new_order) == (flags.get("dropout", 0), "use_new_attention_order" in flags)
    head_channels = flags.get("num_head_channels", 64 if "classifier_width" in flags else -1)
    if head_channels == -1:
        assert (module.heads, module.head_channels) == (flags["num_heads"], None)
    else:
        assert module.head_channels == head_channels
    if config.method == "classifier":
        assert (module.out_channels, module.pool) == (1000, "attention")
    else:
        assert (module.out_channels, module.classes) == (6, 1000 * flags.get("class_cond", False))
        assert module.beside == ((("low_res", 3),) if "large_size" in flags else ())
        assert config.model.low_res == flags.get("small_size")


@pytest.mark.parametrize("name", CONFIGS)
def test_our_configurations_are_the_releases(name):
    """What may differ is named: arithmetic, memory, pace of training, and how the same is written."""
    imported, spec = of(name)
    ours = parse(importlib.import_module(f"configs.{CONFIGS[name]}").get_config())
    different = differences(imported, ours)
    pace = {"train.steps", "train.batch", "optimizer.learning_rate", "data.shift"}
    written = {"model.network.channel_mult"} | ({"model.network.heads"} if ours.model.network.head_channels else set())
    assert set(different) <= {"dtype", "model.network.remat"} | pace | written
    assert network(module_of(ours, spec)) == network(module_of(imported, spec))


def test_process_and_sampling_follow_the_flags():
    def model(**values):
        return described(ADM, {"class_cond": True} | values)[0]

    plain = model().model
    assert (plain.process.variance, plain.loss, plain.process.prediction) == ("fixed_large", "simple", "eps")
    assert model(sigma_small=True, predict_xstart=True).model.process.variance == "fixed_small"
    assert model(predict_xstart=True).model.process.prediction == "x_0"
    assert model(learn_sigma=True).model.loss == "hybrid"
    assert model(learn_sigma=True, diffusion_steps=4000).model.loss == "simple"
    assert model(learn_sigma=True, diffusion_steps=4000, rescale_learned_sigmas=True).model.loss == "hybrid"
    assert model(learn_sigma=True, use_kl=True).model.loss == "rescaled_kl"
    assert model(diffusion_steps=100).sampling.steps == "100"
    fast = model(timestep_respacing="ddim25").sampling
    assert (fast.sampler, fast.steps) == ("ddim", "ddim25")


def test_images_that_are_named():
    def data(name):
        return described(ADM, {"image_size": 64}, data=name)[0].data

    assert data("lsun/cat").train_split == "train[1%:]"
    assert data("imagenet2012").size == 64
    assert data("cifar10").size is None
    with pytest.raises(ConfigError, match=r"do not tell which images.*--data=FOLDER"):
        data(None)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("adm_superres", {"small_size": 0}, "has no small_size"),
        ("adm_superres", {"small_size": 5}, "model.low_res is 5"),
        (
            "adm_unet_plain",
            {"num_heads": 2, "num_heads_upsample": 1, "num_head_channels": -1},
            "num_heads_upsample=1 and num_heads=2",
        ),
        ("adm_unet_plain", {"conv_resample": False, "resblock_updown": False}, "conv_resample=False"),
        ("adm_unet_plain", {"learn_sigma": True, "out_channels": 3}, "learn_sigma, which needs out_channels=6, not 3"),
        ("adm_unet_plain", {"out_channels": 4}, "out_channels=4; it must be 3, or with a learned variance 6"),
        ("adm_unet_plain", {"noise_schedule": "cubic"}, "noise_schedule is 'cubic'; it must be one of linear"),
        ("adm_unet_plain", {"timestep_respacing": "2000"}, "sampling.steps"),
    ],
)
def test_what_our_models_cannot_be(name, changes, message):
    with pytest.raises(ConfigError, match=message):
        build_method(*described(ADM, load_torch(name)[1] | changes, data="cifar10"))
