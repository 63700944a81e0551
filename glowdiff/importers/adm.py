"""ADM and Improved DDPM (PyTorch): denoisers, upsamplers and noisy classifiers.

Two vocabularies of flags are understood: the command-line flags that the releases are documented with, in which
`attention_resolutions` are pixels, and the arguments of the networks' constructors, in which they are halvings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from glowdiff.catalog.parse import Settings, defaults
from glowdiff.catalog.recipes import adm_training, classifier_training
from glowdiff.errors import ConfigError, require, require_choice
from glowdiff.importers import unet
from glowdiff.importers.family import NAME_DATA, Family
from glowdiff.importers.flags import values
from glowdiff.importers.mapping import Path, Source
from glowdiff.importers.unet import CONSTRUCTOR, Flags, Process
from glowdiff.importers.workdir import named_data
from glowdiff.networks.classifier import POOLS

CLASSES = 1000  # of ImageNet: the originals know no other number

_PROCESS = Process()._asdict()
_UNET: dict[str, Any] = {
    "image_size": 64, "num_channels": 128, "num_res_blocks": 2, "num_heads": 4, "num_heads_upsample": -1,
    "num_head_channels": -1, "attention_resolutions": "16,8", "channel_mult": "", "dropout": 0.0, "class_cond": False,
    "num_classes": CLASSES, "use_scale_shift_norm": True, "resblock_updown": False, "use_new_attention_order": False,
}  # fmt: skip
_CLASSIFIER: dict[str, Any] = {
    "image_size": 64, "classifier_width": 128, "classifier_depth": 2, "classifier_attention_resolutions": "32,16,8",
    "classifier_use_scale_shift_norm": True, "classifier_resblock_updown": True, "classifier_pool": "attention",
    "num_classes": CLASSES,
}  # fmt: skip
_CLASSIFIER_NAMES = {
    "model_channels": "width", "num_res_blocks": "depth", "attention_resolutions": "attention_resolutions",
    "use_scale_shift_norm": "use_scale_shift_norm", "resblock_updown": "resblock_updown",
}  # fmt: skip
_MODELS = {"UNetModel": "unet", "SuperResModel": "superres", "EncoderUNetModel": "classifier"}
# The multipliers that the original's command line takes for a size; its upsampler to 512 differs.
_MULT = {512: "0.5,1,1,2,2,4,4", 256: "1,1,2,2,4,4", 128: "1,1,2,3,4", 64: "1,2,3,4", 32: "1,2,2,2"}
_SUPERRES_MULT = {512: "1,1,2,2,4,4", 256: "1,1,2,2,4,4", 64: "1,2,3,4"}
# Flags of training and sampling, which say nothing about the network.
_IGNORED = (
    *unet.IGNORED, "classifier_use_fp16", "data_dir", "val_data_dir", "schedule_sampler", "lr",
    "weight_decay", "lr_anneal_steps", "anneal_lr", "iterations", "noised", "batch_size", "microbatch", "ema_rate",
    "log_interval", "eval_interval", "save_interval", "resume_checkpoint", "fp16_scale_growth", "clip_denoised",
    "num_samples", "use_ddim", "model_path", "classifier_path", "classifier_scale", "base_samples",
)  # fmt: skip

# ---- The releases: the flags they are documented with. What the originals' defaults already say is left out, except
# where the two code bases differ: Improved DDPM rescales timesteps and learned variances by default, ADM does not. A
# classifier's process is that of the denoiser it guides.

_ADM = {
    "attention_resolutions": "32,16,8", "num_channels": 256, "num_res_blocks": 2, "num_head_channels": 64,
    "resblock_updown": True, "use_scale_shift_norm": True, "learn_sigma": True, "diffusion_steps": 1000,
    "noise_schedule": "linear", "rescale_timesteps": False, "rescale_learned_sigmas": False,
}  # fmt: skip
_CLASS = _ADM | {"class_cond": True}
_UPSAMPLER = _CLASS | {"num_channels": 192}
_LSUN = _ADM | {"image_size": 256, "class_cond": False, "dropout": 0.1}
_GUIDE = {
    "classifier_width": 128, "classifier_depth": 2, "classifier_attention_resolutions": "32,16,8",
    "classifier_use_scale_shift_norm": True, "classifier_resblock_updown": True, "classifier_pool": "attention",
    "diffusion_steps": 1000, "noise_schedule": "linear",
}  # fmt: skip
_IDDPM = {
    "num_heads": 4, "attention_resolutions": "16,8", "use_scale_shift_norm": True, "resblock_updown": False,
    "learn_sigma": True, "diffusion_steps": 4000, "noise_schedule": "cosine", "rescale_timesteps": True,
    "rescale_learned_sigmas": True,
}  # fmt: skip
_NOT_RESCALED = {"rescale_timesteps": False, "rescale_learned_sigmas": False}
_IDDPM_IMAGENET = _IDDPM | {"image_size": 64, "num_channels": 128, "num_res_blocks": 3, "class_cond": False}
_IDDPM_CIFAR = _IDDPM_IMAGENET | {"image_size": 32, "dropout": 0.3}
_IDDPM_LSUN = _IDDPM | _NOT_RESCALED | {
    "image_size": 256, "num_channels": 128, "num_res_blocks": 2, "num_heads": 1, "use_scale_shift_norm": False,
    "attention_resolutions": "16", "diffusion_steps": 1000, "noise_schedule": "linear",
}  # fmt: skip

RELEASES: dict[str, dict[str, Any]] = {
    "64x64_diffusion": _CLASS | {
        "image_size": 64, "num_channels": 192, "num_res_blocks": 3, "use_new_attention_order": True, "dropout": 0.1,
        "noise_schedule": "cosine",
    },
    "128x128_diffusion": _CLASS | {"image_size": 128, "num_heads": 4, "num_head_channels": -1},
    "256x256_diffusion": _CLASS | {"image_size": 256},
    "256x256_diffusion_uncond": _ADM | {"image_size": 256, "class_cond": False},
    "512x512_diffusion": _CLASS | {"image_size": 512},
    "64_256_upsampler": _UPSAMPLER | {"large_size": 256, "small_size": 64, "num_heads": 4, "num_head_channels": -1},
    "128_512_upsampler": _UPSAMPLER | {"large_size": 512, "small_size": 128, "attention_resolutions": "32,16"},
    "lsun_bedroom": _LSUN, "lsun_cat": _LSUN, "lsun_horse": _LSUN, "lsun_horse_nodropout": _LSUN | {"dropout": 0.0},
    "64x64_classifier": _GUIDE | {"image_size": 64, "classifier_depth": 4, "noise_schedule": "cosine"},
    "128x128_classifier": _GUIDE | {"image_size": 128},
    "256x256_classifier": _GUIDE | {"image_size": 256},
    "512x512_classifier": _GUIDE | {"image_size": 512},
    "imagenet64_uncond_100M_1500K": _IDDPM_IMAGENET,
    "imagenet64_uncond_vlb_100M_1500K": _IDDPM_IMAGENET | {"use_kl": True},
    "imagenet64_cond_270M_250K": _IDDPM_IMAGENET | _NOT_RESCALED | {"num_channels": 192, "class_cond": True},
    "cifar10_uncond_50M_500K": _IDDPM_CIFAR,
    "cifar10_uncond_vlb_50M_500K": _IDDPM_CIFAR | {"use_kl": True},
    "upsample_cond_500K": _IDDPM | _NOT_RESCALED | {
        "large_size": 256, "small_size": 64, "num_channels": 192, "num_res_blocks": 2, "class_cond": True,
        "noise_schedule": "linear",
    },
    "lsun_uncond_100M_1200K_bs128": _IDDPM_LSUN, "lsun_uncond_100M_2400K_bs64": _IDDPM_LSUN,
}  # fmt: skip
# What they are of, where the flags do not say; those with labels are of ImageNet.
_DATA = dict.fromkeys(("cifar10_uncond_50M_500K", "cifar10_uncond_vlb_50M_500K"), "cifar10") | {
    "256x256_diffusion_uncond": "imagenet2012", "imagenet64_uncond_100M_1500K": "downsampled_imagenet/64x64",
    "imagenet64_uncond_vlb_100M_1500K": "downsampled_imagenet/64x64", "lsun_bedroom": "lsun/bedroom",
    "lsun_cat": "lsun/cat", "lsun_horse": "lsun/horse", "lsun_horse_nodropout": "lsun/horse",
    "lsun_uncond_100M_1200K_bs128": "lsun/bedroom", "lsun_uncond_100M_2400K_bs64": "lsun/bedroom",
}  # fmt: skip

# Our layers behind the last block and the original's, by the classifier's pool.
_ENDS = {
    "adaptive": {"norm_out": "out.0", "logits": "out.3"},
    "attention": {"norm_out": "out.0", "pool.qkv": "out.2.qkv_proj", "pool.proj_out": "out.2.c_proj"},
    "spatial": {"hidden": "out.0", "logits": "out.2"},
    "spatial_v2": {"hidden": "out.0", "norm_out": "out.1", "logits": "out.3"},
}
_OTHERS: dict[Path, Source] = {
    ("params", "label_embed", "embedding"): Source(("label_emb.weight",)),
    ("params", "pool", "positional_embedding"): Source(("out.2.positional_embedding",), np.transpose),
}


def parse(flags: Mapping[str, Any]) -> Flags:
    """See `Family.parse`."""
    if "model_channels" in flags:
        return _constructor(flags)
    if any(name.startswith("classifier_") and name in _CLASSIFIER for name in flags):
        return _classifier(flags)
    return _unet(flags)


def enlarging(flags: Flags) -> Flags:
    """The flags for the module alone, which enlarges from any size, and need not be told which."""
    if flags.kind == "superres" and flags.small_size is None:
        return flags._replace(small_size=unet.quarter(flags.side))
    return flags


def _constructor(flags: Mapping[str, Any]) -> Flags:
    name = str(flags.get("model", "UNetModel"))
    require_choice("--flags: model", name, _MODELS)
    kind = _MODELS[name]
    own = {"num_classes": 0, "use_new_attention_order": False, "pool": "adaptive"}
    # The side of the small images is no argument of the constructor.
    small = {"small_size": 0} if kind == "superres" else {}
    read = values(flags, CONSTRUCTOR | own | small | _PROCESS, _IGNORED)
    if kind == "classifier":
        return _guiding(read, read["pool"], "pool", halvings=True)
    small_size = read.get("small_size") or None
    return unet.constructed(kind, read, halvings=True, classes=read["num_classes"], small_size=small_size)


def _classifier(flags: Mapping[str, Any]) -> Flags:
    both = [name for name in flags if name in _UNET and name not in _CLASSIFIER]
    require(
        not both,
        f"--flags describe a classifier (classifier_...) and a diffusion model ({', '.join(both[:3])}) at once; "
        "give those of the one that the weights belong to.",
    )
    read = values(flags, _CLASSIFIER | _PROCESS, _IGNORED)
    read |= {name: read[f"classifier_{flag}"] for name, flag in _CLASSIFIER_NAMES.items()}
    read |= {  # the original's command line leaves no choice about heads
        "num_head_channels": 64,
        "out_channels": read["num_classes"],
        "channel_mult": unet.published_mult("image_size", read["image_size"], _MULT, "."),
    }
    return _guiding(read, read["classifier_pool"], "classifier_pool", halvings=False)


def _guiding(read: Mapping[str, Any], pool: str, flag: str, *, halvings: bool) -> Flags:
    require_choice(f"--flags: {flag}", pool, POOLS)
    classes = read["out_channels"]
    return unet.constructed("classifier", read, halvings=halvings, classes=classes, network={"pool": pool})


def _unet(flags: Mapping[str, Any]) -> Flags:
    small = {"large_size": 256, "small_size": 64} if "large_size" in flags else {}
    known = {name: value for name, value in _UNET.items() if not (small and name == "image_size")}
    read = values(flags, small | known | _PROCESS, _IGNORED)
    flag, kind, table = ("large_size", "superres", _SUPERRES_MULT) if small else ("image_size", "unet", _MULT)
    size = read[flag]
    read |= {
        "image_size": size,
        "out_channels": 6 if read["learn_sigma"] else 3,
        "model_channels": read["num_channels"],
        "channel_mult": read["channel_mult"] or unet.published_mult(flag, size, table),
    }
    classes = read["num_classes"] if read["class_cond"] else 0
    return unet.constructed(kind, read, halvings=False, classes=classes, small_size=read.get("small_size") or None)


def _data(flags: Flags, release: str | None) -> dict[str, Any]:
    name = _DATA.get(release or "") or ("imagenet2012" if flags.classes == CLASSES else None)
    if name is None:
        raise ConfigError(f"--flags do not tell which images the model is of; {NAME_DATA}")
    section = named_data(name, flags.side)
    if name.startswith("downsampled_imagenet"):
        return section | {"test_split": "validation"}
    # Improved DDPM, whose CIFAR-10 this is, mirrored nothing; ADM did.
    return section if name == "cifar10" else section | {"flip": True}


def _settings(flags: Flags, data: Mapping[str, Any], batch: int) -> Settings:
    """With the steps to train on of ADM's at 128x128, and 250 to sample, of LSUN 1,000."""
    if flags.kind == "classifier":
        config = defaults("classifier")
        classifier_training(config, steps=300_000, batch=batch or 256)
    else:
        config = defaults("diffusion")
        adm_training(config, steps=500_000, batch=batch or 256)
        most = 1000 if data["name"].startswith("lsun/") else 250
        config.sampling.steps = str(min(most, flags.process.diffusion_steps))
        unet.respace(config, flags)
    unet.configure(config, flags)
    return config


def _sources(flags: Flags, paths: list[Path]) -> dict[str, dict[Path, Source]]:
    ends = _ENDS[flags.network["pool"]] if flags.kind == "classifier" else unet.END
    layers = unet.sources([path for path in paths if path not in _OTHERS], ends)
    return {"weights": {path: _OTHERS.get(path) or layers[path] for path in paths}}


ADM = Family(
    name="adm",
    help="a model or classifier of ADM or Improved DDPM (PyTorch)",
    parse=parse,
    spec=unet.spec,
    data=_data,
    settings=_settings,
    sources=_sources,
    releases=RELEASES,
    classes="num_classes",
)
