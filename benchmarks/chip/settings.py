"""The configurations that `benchmarks/gpu.py` measures, as plain mappings: it runs where ml_collections is not.

tests/benchmarks/test_gpu.py holds them against configs/.
"""

from __future__ import annotations

import copy
from typing import Any

from glowdiff.config.parse import parse
from glowdiff.config.schema import Config

_EVERY = {"eval": {"every": 10_000, "images": 2048}, "sampling": {"every": 10_000}}
_LOGS = {"log_every": 500, "checkpoint_every": 10_000}
_ADM = {
    "attention": "32,16,8", "head_channels": 64, "updown": True, "variance": "learned", "loss": "hybrid", "remat": True,
}  # fmt: skip
_IMAGENET = {"name": "imagenet2012", "test_split": "validation", "flip": True}
_GLIDE = _ADM | {
    "channels": 192, "dropout": 0.1, "text": True, "tokenizer": "gpt2", "vocab_size": 50_257, "text_context": 128,
    "text_width": 512, "text_layers": 16, "text_heads": 8,
}  # fmt: skip

# By the name of the file under configs/.
PUBLISHED: dict[str, dict[str, Any]] = {
    "adm/imagenet64": {
        **_EVERY, "method": "diffusion", "dtype": "bfloat16",
        "data": _IMAGENET | {"size": 64},
        "model": _ADM | {
            "schedule": "cosine", "channels": 192, "res_blocks": 3, "class_conditional": True,
            "new_attention_order": True, "dropout": 0.1,
        },
        "train": _LOGS | {"steps": 540_000, "batch": 2048},
        "optimizer": {"learning_rate": 3e-4},
    },
    "adm/imagenet256": {
        **_EVERY, "method": "diffusion", "dtype": "bfloat16",
        "data": _IMAGENET | {"size": 256},
        "model": _ADM | {"channels": 256, "class_conditional": True},
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
        "sampling": {"every": 10_000, "temperature": 0.7},
    },
    "glide/base64": {
        **_EVERY, "method": "diffusion", "dtype": "bfloat16",
        "data": {"name": "folder", "path": "captioned_images", "size": 64},
        "model": _GLIDE | {"schedule": "squaredcos_cap_v2", "res_blocks": 3, "caption_dropout": 0.2},
        "train": _LOGS | {"steps": 2_500_000, "batch": 2048},
        "sampling": {"every": 10_000, "steps": "100", "guidance_scale": 3.0},
    },
    "glide/upsample64_256": {
        **_EVERY, "method": "diffusion", "dtype": "bfloat16",
        "data": {"name": "folder", "path": "captioned_images", "size": 256},
        "model": _GLIDE | {"low_res": 64},
        "train": _LOGS | {"steps": 1_600_000, "batch": 512},
        "sampling": {"every": 10_000, "temperature": 0.997, "sampler": "ddim", "steps": "fast27"},
    },
}  # fmt: skip

# Of no file: a UNet of about 10M parameters at 64x64 as JAX libraries for diffusion show it.
SMALL_UNET: dict[str, Any] = {
    "method": "diffusion", "dtype": "bfloat16",
    "data": {"name": "imagenet2012", "size": 64},
    "model": {
        "channels": 64, "channel_mult": "1,2,2,2", "res_blocks": 2, "attention": "16,8", "head_channels": 64,
        "updown": False,
    },
    "train": {"batch": 16},
}  # fmt: skip
_TOY = {
    "diffusion": {"channels": 32, "channel_mult": "1", "res_blocks": 1, "attention": "", "head_channels": 16},
    "classifier": {"channels": 32, "channel_mult": "1", "res_blocks": 1, "attention": "", "head_channels": 16},
    "glow": {"levels": 1, "depth": 2, "width": 8},
}
_TOY_TEXT = {"vocab_size": 300, "text_context": 16, "text_width": 32, "text_layers": 1, "text_heads": 2}
_TOY_SIDE = 8


def configuration(settings: dict[str, Any], *, toy: bool = False, **model: Any) -> Config:
    """The configuration of `settings`.

    Args:
      settings: as above.
      toy: at a size for a CPU and a test; large images are twice as large as small ones.
      **model: values of its section `model`; `batch` is that of its section `train`.
    """
    settings = copy.deepcopy(settings)
    settings.setdefault("model", {})
    if toy:
        _shrink(settings)
    if batch := model.pop("batch", None):
        settings.setdefault("train", {})["batch"] = min(batch, 2) if toy else batch
    settings["model"].update(model)
    return parse(settings)


def _shrink(settings: dict[str, Any]) -> None:
    model = settings["model"]
    model.update(_TOY[settings["method"]])
    if settings["method"] == "glow":
        settings["data"]["name"] = "cifar10"
    else:
        settings["data"]["size"] = _TOY_SIDE * (1 if settings["data"]["size"] == 64 else 2)
    if model.get("text"):
        model.update(_TOY_TEXT)
    if "low_res" in model:
        model["low_res"] = _TOY_SIDE
