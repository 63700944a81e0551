"""The released checkpoints of ADM, Improved DDPM and GLIDE, by their names: the flags they are documented with.

What the originals' defaults already say is left out, except where the two code bases differ: Improved DDPM rescales
timesteps and learned variances by default, ADM does not. A classifier's process is that of the denoiser it guides.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from glowdiff.errors import require

_ADM = {
    "attention_resolutions": "32,16,8", "num_channels": 256, "num_res_blocks": 2, "num_head_channels": 64,
    "resblock_updown": True, "use_scale_shift_norm": True, "learn_sigma": True, "diffusion_steps": 1000,
    "noise_schedule": "linear", "rescale_timesteps": False, "rescale_learned_sigmas": False,
}  # fmt: skip
_CLASS = _ADM | {"class_cond": True}
_UPSAMPLER = _CLASS | {"num_channels": 192}
_LSUN = _ADM | {"image_size": 256, "class_cond": False, "dropout": 0.1}
_CLASSIFIER = {
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
    "64x64_diffusion": _CLASS
    | {
        "image_size": 64, "num_channels": 192, "num_res_blocks": 3, "use_new_attention_order": True, "dropout": 0.1,
        "noise_schedule": "cosine",
    },
    "128x128_diffusion": _CLASS | {"image_size": 128, "num_heads": 4, "num_head_channels": -1},
    "256x256_diffusion": _CLASS | {"image_size": 256},
    "256x256_diffusion_uncond": _ADM | {"image_size": 256, "class_cond": False},
    "512x512_diffusion": _CLASS | {"image_size": 512},
    "64_256_upsampler": _UPSAMPLER | {"large_size": 256, "small_size": 64, "num_heads": 4, "num_head_channels": -1},
    "128_512_upsampler": _UPSAMPLER | {"large_size": 512, "small_size": 128, "attention_resolutions": "32,16"},
    "lsun_bedroom": _LSUN,
    "lsun_cat": _LSUN,
    "lsun_horse": _LSUN,
    "lsun_horse_nodropout": _LSUN | {"dropout": 0.0},
    "64x64_classifier": _CLASSIFIER | {"image_size": 64, "classifier_depth": 4, "noise_schedule": "cosine"},
    "128x128_classifier": _CLASSIFIER | {"image_size": 128},
    "256x256_classifier": _CLASSIFIER | {"image_size": 256},
    "512x512_classifier": _CLASSIFIER | {"image_size": 512},
    "imagenet64_uncond_100M_1500K": _IDDPM_IMAGENET,
    "imagenet64_uncond_vlb_100M_1500K": _IDDPM_IMAGENET | {"use_kl": True},
    "imagenet64_cond_270M_250K": _IDDPM_IMAGENET | _NOT_RESCALED | {"num_channels": 192, "class_cond": True},
    "cifar10_uncond_50M_500K": _IDDPM_CIFAR,
    "cifar10_uncond_vlb_50M_500K": _IDDPM_CIFAR | {"use_kl": True},
    "upsample_cond_500K": _IDDPM
    | _NOT_RESCALED
    | {
        "large_size": 256, "small_size": 64, "num_channels": 192, "num_res_blocks": 2, "class_cond": True,
        "noise_schedule": "linear",
    },
    "lsun_uncond_100M_1200K_bs128": _IDDPM_LSUN,
    "lsun_uncond_100M_2400K_bs64": _IDDPM_LSUN,
}  # fmt: skip


# Of GLIDE (filtered); what `glide_flags` assumes where nothing is said is what they have.
GLIDE: dict[str, dict[str, Any]] = {
    "base": {"super_res": False, "inpaint": False},
    "upsample": {"super_res": True, "inpaint": False},
    "base-inpaint": {"super_res": False, "inpaint": True},
    "upsample-inpaint": {"super_res": True, "inpaint": True},
}


def release(name: str, key: str = "--flags", releases: Mapping[str, dict[str, Any]] = RELEASES) -> dict[str, Any]:
    """The flags of a release; `.pt` at the end of its name does not matter.

    Args:
      name: of the release.
      key: the flag that names it, for messages.
      releases: that there are.

    Raises:
      ConfigError: there is no such release.
    """
    name = name.removesuffix(".pt")
    close = difflib.get_close_matches(name, releases, 1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(releases)}."
    require(name in releases, f"{key} is {name!r}, which is no release; {hint}")
    return dict(releases[name])
