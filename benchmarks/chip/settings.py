"""The configurations that `benchmarks/gpu.py` measures, as plain mappings: it runs where ml_collections is not.

tests/benchmarks/test_gpu.py holds them against configs/.
"""

from __future__ import annotations

import copy
from typing import Any

from glowdiff.catalog.parse import parse
from glowdiff.config.sections import Config

_EVERY = {"eval": {"every": 10_000, "images": 2048}, "pictures": {"every": 10_000}}
_LOGS = {"log_every": 500, "checkpoint_every": 10_000}
# Sections of `model`, by dotted keys.
_ADM = {
    "process.variance": "learned", "loss": "hybrid", "network.attention": "32,16,8", "network.head_channels": 64,
    "network.updown": True, "network.remat": True,
}  # fmt: skip
_IMAGENET = {"name": "imagenet2012", "test_split": "validation", "flip": True}
_GLIDE = _ADM | {
    "network.channels": 192, "network.dropout": 0.1, "text.name": "glide", "text.tokenizer": "gpt2",
    "text.vocab_size": 50_257, "text.context": 128, "text.width": 512, "text.layers": 16, "text.heads": 8,
}  # fmt: skip

# By the name of the file under configs/.
PUBLISHED: dict[str, dict[str, Any]] = {
    "adm/imagenet64": {
        **_EVERY, "method": "diffusion", "dtype": "bfloat16",
        "data": _IMAGENET | {"size": 64},
        "model": _ADM | {
            "process.schedule": "cosine", "network.channels": 192, "network.res_blocks": 3, "class_conditional": True,
            "network.new_attention_order": True, "network.dropout": 0.1,
        },
        "train": _LOGS | {"steps": 540_000, "batch": 2048},
        "optimizer": {"learning_rate": 3e-4},
    },
    "adm/imagenet256": {
        **_EVERY, "method": "diffusion", "dtype": "bfloat16",
        "data": _IMAGENET | {"size": 256},
        "model": _ADM | {"network.channels": 256, "class_conditional": True},
        "train": _LOGS | {"steps": 1_980_000, "batch": 256},
    },
    "adm/classifier256": {
        **_EVERY, "method": "classifier", "dtype": "bfloat16",
        "data": _IMAGENET | {"size": 256, "shift": 16},
        "train": _LOGS | {"steps": 300_000, "batch": 256},
        "optimizer": {"decay": "linear"},
    },
    "glow/imagenet64": {
        "method": "glow", "dtype": "bfloat16",
        "data": {"name": "downsampled_imagenet/64x64", "test_split": "validation"},
        "model": {"levels": 4, "depth": 48, "width": 512, "memory": "remat"},
        "train": _LOGS | {"steps": 500_000, "batch": 256, "ema_decay": 1 - 1 / 195},
        "optimizer": {"name": "adamax", "learning_rate": 1e-3, "warmup_steps": 1950, "b2": 1 - 1 / 195},
        "eval": {"every": 10_000},
        "pictures": {"every": 10_000}, "sampling": {"temperature": 0.7},
    },
    "glide/base64": {
        **_EVERY, "method": "diffusion", "dtype": "bfloat16",
        "data": {"name": "folder", "path": "captioned_images", "size": 64},
        "model": _GLIDE | {"process.schedule": "squaredcos_cap_v2", "network.res_blocks": 3, "caption_dropout": 0.2},
        "train": _LOGS | {"steps": 2_500_000, "batch": 2048},
        "sampling": {"steps": "100", "guidance_scale": 3.0},
    },
    "glide/upsample64_256": {
        **_EVERY, "method": "diffusion", "dtype": "bfloat16",
        "data": {"name": "folder", "path": "captioned_images", "size": 256},
        "model": _GLIDE | {"low_res": 64},
        "train": _LOGS | {"steps": 1_600_000, "batch": 512},
        "sampling": {"temperature": 0.997, "sampler": "ddim", "steps": "fast27"},
    },
}  # fmt: skip

# Of no file: a UNet of about 10M parameters at 64x64 as JAX libraries for diffusion show it.
SMALL_UNET: dict[str, Any] = {
    "method": "diffusion", "dtype": "bfloat16",
    "data": {"name": "imagenet2012", "size": 64},
    "model": {
        "network.channels": 64, "network.channel_mult": "1,2,2,2", "network.res_blocks": 2,
        "network.attention": "16,8", "network.head_channels": 64, "network.updown": False,
    },
    "train": {"batch": 16},
}  # fmt: skip
_TOY_UNET = {
    "network.channels": 32, "network.channel_mult": "1", "network.res_blocks": 1, "network.attention": "",
    "network.head_channels": 16,
}  # fmt: skip
_TOY = {"diffusion": _TOY_UNET, "classifier": _TOY_UNET, "glow": {"levels": 1, "depth": 2, "width": 8}}
_TOY_TEXT = {"text.vocab_size": 300, "text.context": 16, "text.width": 32, "text.layers": 1, "text.heads": 2}
_TOY_SIDE = 8


def configuration(settings: dict[str, Any], *, toy: bool = False, batch: int = 0, **model: Any) -> Config:
    """The configuration of `settings`.

    Args:
      settings: as above.
      toy: at a size for a CPU and a test; large images are twice as large as small ones.
      batch: of its section `train`.
      **model: values of its section `model`, with `__` for the dots.
    """
    settings = copy.deepcopy(settings)
    settings.setdefault("model", {})
    if toy:
        _shrink(settings)
    if batch:
        settings.setdefault("train", {})["batch"] = min(batch, 2) if toy else batch
    changes = {key.replace("__", "."): value for key, value in model.items()}
    return parse(settings | {"model": _nested(settings["model"] | changes)})


def _shrink(settings: dict[str, Any]) -> None:
    model = settings["model"]
    model.update(_TOY[settings["method"]])
    if settings["method"] == "glow":
        settings["data"]["name"] = "cifar10"
    else:
        settings["data"]["size"] = _TOY_SIDE * (1 if settings["data"]["size"] == 64 else 2)
    if "text.name" in model:
        model.update(_TOY_TEXT)
    if "low_res" in model:
        model["low_res"] = _TOY_SIDE


def _nested(values: dict[str, Any]) -> dict[str, Any]:
    """Dotted keys as sub-sections."""
    sections: dict[str, Any] = {}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        (sections.setdefault(section, {}) if section else sections)[name] = value
    return sections
