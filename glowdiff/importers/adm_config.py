"""From the flags of ADM and Improved DDPM to a whole configuration of ours."""

from __future__ import annotations

from typing import Any

from glowdiff.catalog.parse import Settings, defaults, parse
from glowdiff.catalog.recipes import adm_training, classifier_training
from glowdiff.config.sections import Config
from glowdiff.diffusion.schedules import SCHEDULES
from glowdiff.errors import ConfigError, require, require_choice
from glowdiff.importers.adm_flags import CLASSES
from glowdiff.importers.network_flags import Flags
from glowdiff.importers.workdir import named_data
from glowdiff.spec import DataSpec

DTYPES = ("float32", "bfloat16")
_STEPS = {"diffusion": 500_000, "classifier": 300_000}  # to train on; ADM's at 128x128
# What the flags of a release do not say; those with labels are of ImageNet.
_DATA = {
    "256x256_diffusion_uncond": "imagenet2012",
    "lsun_bedroom": "lsun/bedroom",
    "lsun_cat": "lsun/cat",
    "lsun_horse": "lsun/horse",
    "lsun_horse_nodropout": "lsun/horse",
    "imagenet64_uncond_100M_1500K": "downsampled_imagenet/64x64",
    "imagenet64_uncond_vlb_100M_1500K": "downsampled_imagenet/64x64",
    "cifar10_uncond_50M_500K": "cifar10",
    "cifar10_uncond_vlb_50M_500K": "cifar10",
    "lsun_uncond_100M_1200K_bs128": "lsun/bedroom",
    "lsun_uncond_100M_2400K_bs64": "lsun/bedroom",
}


def configuration(
    flags: Flags, data: str | None = None, *, preset: str | None = None, batch: int = 0, dtype: str = "float32"
) -> Config:
    """The configuration of a workdir: the original's model, process and training.

    Args:
      flags: see `glowdiff.importers.adm_flags`.
      data: what `--data` names; None: what the release was trained on, or ImageNet where there are its classes.
      preset: the release's name, if it is one.
      batch: images per step if training goes on; 0: the papers' usual 256.
      dtype: of the networks' arithmetic; the originals' is float32, or float16.

    Raises:
      ConfigError: the flags ask for something that is not here, or nothing says which images.
    """
    require(batch >= 0, f"--batch is {batch}; it must be at least 1.")
    require_choice("--dtype", dtype, DTYPES)
    method = "classifier" if flags.kind == "classifier" else "diffusion"
    config = defaults(method)
    training = classifier_training if method == "classifier" else adm_training
    training(config, steps=_STEPS[method], batch=batch or 256)
    config.dtype = dtype
    config.model.update(noised(flags))
    config.data.update(_data(flags, data, preset))
    if method == "classifier":
        config.model.network.pool = flags.network["pool"]
    else:
        config.model.update(denoiser(flags))
        _sampling(config, flags)
    return parse(config)


def assumed_spec(flags: Flags, name: str) -> DataSpec:
    """What the flags say of the data, of which they know neither the number of images nor the classes' names."""
    side = flags.network["image_size"]
    return DataSpec(name, (side, side, flags.in_channels), 256, 0, 0, tuple(map(str, range(_classes(flags)))))


def noised(flags: Flags) -> dict[str, Any]:
    """Of the `model` section, what denoisers and classifiers have in common."""
    network, process = flags.network, flags.process
    require_choice("--flags: noise_schedule", process.noise_schedule, SCHEDULES)
    require(
        network["updown"] or network.get("conv_resample", True),
        "--flags has conv_resample=False; networks here halve images by residual blocks or convolutions.",
    )
    up = network.get("heads_up")
    require(
        network["head_channels"] is not None or up in (None, network["heads"]),
        f"--flags has num_heads_upsample={up} and num_heads={network['heads']}; networks here have as many heads in "
        "both halves.",
    )
    same = ("channels", "res_blocks", "heads", "head_channels", "adagn", "updown", "dropout")
    return {key: network[key] for key in same} | {
        "schedule": process.noise_schedule,
        "timesteps": process.diffusion_steps,
        "rescale_timesteps": process.rescale_timesteps,
        "channel_mult": ",".join(f"{mult:g}" for mult in network["channel_mult"]),
        "attention": ",".join(map(str, network["attention"])),
        "new_attention_order": network["new_order"],
    }


def denoiser(flags: Flags) -> dict[str, Any]:
    """Of the `model` section, what a denoiser has besides."""
    network, process, channels = flags.network, flags.process, flags.in_channels
    require(
        network["out_channels"] in (channels, 2 * channels),
        f"--flags has out_channels={network['out_channels']}; it must be {channels}, or with a learned variance "
        f"{2 * channels}.",
    )
    learned = network["out_channels"] == 2 * channels
    require(
        learned or not process.learn_sigma,
        f"--flags has learn_sigma, which needs out_channels={2 * channels}, not {channels}.",
    )
    fixed = "fixed_small" if process.sigma_small else "fixed_large"
    # At a thousand steps the original's plain loss is the hybrid one.
    hybrid = learned and (process.rescale_learned_sigmas or process.diffusion_steps == 1000)
    small = None
    if network["low_res"]:
        small = flags.small_size
        require(small is not None, "--flags has no small_size, the side of the images that the network enlarges.")
    return {
        "prediction": "x_0" if process.predict_xstart else "eps",
        "variance": "learned" if learned else fixed,
        "loss": "rescaled_kl" if process.use_kl else "hybrid" if hybrid else "simple",
        "class_conditional": network["classes"] > 0,
        "low_res": small,
    }


def _data(flags: Flags, data: str | None, preset: str | None) -> dict[str, Any]:
    """The `data` section."""
    name = data or _DATA.get(preset or "") or ("imagenet2012" if _classes(flags) == CLASSES else None)
    if name is None:
        raise ConfigError(
            "--flags do not tell which images the model is of; name them: --data=cifar10 (any name of a data set), "
            "--data=FILE.npz or --data=FOLDER."
        )
    section = named_data(name, flags.network["image_size"])
    if data is not None:
        return section
    if name.startswith("downsampled_imagenet"):
        return section | {"test_split": "validation"}
    # Improved DDPM, whose CIFAR-10 this is, mirrored nothing; ADM did.
    return section if name == "cifar10" else section | {"flip": True}


def _sampling(config: Settings, flags: Flags) -> None:
    """As published: 250 steps, of LSUN 1,000; or what `timestep_respacing` says."""
    process = flags.process
    most = 1000 if config.data.name.startswith("lsun/") else 250
    config.sampling.steps = process.timestep_respacing or str(min(most, process.diffusion_steps))
    if process.timestep_respacing.startswith("ddim"):
        config.sampling.sampler = "ddim"


def _classes(flags: Flags) -> int:
    return flags.network["out_channels"] if flags.kind == "classifier" else flags.network["classes"]
