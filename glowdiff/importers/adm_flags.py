"""The flags of guided-diffusion and improved-diffusion, and what they mean in our networks.

Two vocabularies are understood: the command-line flags that the releases are documented with, in which
`attention_resolutions` are pixels, and the arguments of the networks' constructors, in which they are halvings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from glowdiff.errors import require, require_choice
from glowdiff.importers.network_flags import Flags, Process, backbone, denoiser, read_values, require_sizes, sized
from glowdiff.networks.classifier import POOLS

CLASSES = 1000  # of ImageNet: the originals know no other number

_PROCESS: dict[str, Any] = {field.name: field.default for field in fields(Process)}
_UNET: dict[str, Any] = {
    "image_size": 64, "num_channels": 128, "num_res_blocks": 2, "num_heads": 4, "num_heads_upsample": -1,
    "num_head_channels": -1, "attention_resolutions": "16,8", "channel_mult": "", "dropout": 0.0, "class_cond": False,
    "num_classes": CLASSES, "use_scale_shift_norm": True, "resblock_updown": False, "use_new_attention_order": False,
}  # fmt: skip
_SUPERRES: dict[str, Any] = {"large_size": 256, "small_size": 64} | {
    k: v for k, v in _UNET.items() if k != "image_size"
}
_CLASSIFIER: dict[str, Any] = {
    "image_size": 64, "classifier_width": 128, "classifier_depth": 2, "classifier_attention_resolutions": "32,16,8",
    "classifier_use_scale_shift_norm": True, "classifier_resblock_updown": True, "classifier_pool": "attention",
    "num_classes": CLASSES,
}  # fmt: skip
_CONSTRUCTOR: dict[str, Any] = {
    "model": "UNetModel", "image_size": 0, "in_channels": 3, "model_channels": 0, "out_channels": 0,
    "num_res_blocks": 0, "attention_resolutions": "", "dropout": 0.0, "channel_mult": "1,2,4,8", "conv_resample": True,
    "num_classes": 0, "num_heads": 1, "num_head_channels": -1, "num_heads_upsample": -1, "use_scale_shift_norm": False,
    "resblock_updown": False, "use_new_attention_order": False, "pool": "adaptive",
}  # fmt: skip
_MODELS = {"UNetModel": "unet", "SuperResModel": "superres", "EncoderUNetModel": "classifier"}
# Flags of training and sampling, which say nothing about the network.
_IGNORED = (
    "use_fp16", "classifier_use_fp16", "use_checkpoint", "dims", "data_dir", "val_data_dir", "schedule_sampler", "lr",
    "weight_decay", "lr_anneal_steps", "anneal_lr", "iterations", "noised", "batch_size", "microbatch", "ema_rate",
    "log_interval", "eval_interval", "save_interval", "resume_checkpoint", "fp16_scale_growth", "clip_denoised",
    "num_samples", "use_ddim", "model_path", "classifier_path", "classifier_scale", "base_samples",
)  # fmt: skip


def parse(values: Mapping[str, Any]) -> Flags:
    """What a dictionary of flags says; numbers and booleans may be strings.

    Raises:
      ConfigError: a flag that the originals do not have, of another type, or a network that cannot be.
    """
    constructor = "model_channels" in values
    if constructor:
        known, kind = _CONSTRUCTOR, _MODELS.get(str(values.get("model", "UNetModel")), "")
        require(bool(kind), f"--flags has model={values.get('model')}; it must be one of {', '.join(_MODELS)}.")
        # The side of the small images is no argument of the constructor.
        if kind == "superres":
            known = {**known, "small_size": 0}
    elif any(name in _CLASSIFIER and name.startswith("classifier_") for name in values):
        known, kind = _CLASSIFIER, "classifier"
        both = [name for name in values if name in _UNET and name not in _CLASSIFIER]
        require(
            not both,
            f"--flags describe a classifier (classifier_...) and a diffusion model ({', '.join(both[:3])}) at once; "
            "give those of the one that the weights belong to.",
        )
    else:
        known, kind = (_SUPERRES, "superres") if "large_size" in values else (_UNET, "unet")
    read = read_values(values, known | _PROCESS, _IGNORED)
    process = Process(**{name: read[name] for name in _PROCESS})
    network = _constructor(read, kind) if constructor else _command_line(read, kind, process)
    return Flags(
        kind, sized(network, halvings=constructor), read.get("in_channels", 3), process, read.get("small_size") or None
    )


def _constructor(read: dict[str, Any], kind: str) -> dict[str, Any]:
    require_sizes(read)
    network = backbone(read) | {
        "channels": read["model_channels"],
        "out_channels": read["out_channels"],
        "channel_mult": read["channel_mult"],
        "conv_resample": read["conv_resample"],
    }
    if kind == "classifier":
        require_choice("--flags: pool", read["pool"], POOLS)
        return network | {"pool": read["pool"]}
    return network | denoiser(read, read["num_classes"], kind == "superres")


def _command_line(read: dict[str, Any], kind: str, process: Process) -> dict[str, Any]:
    if kind == "classifier":
        # What the original's command line leaves no choice about.
        fixed = {"num_heads": 1, "num_head_channels": 64, "dropout": 0.0, "use_new_attention_order": False}
        names = {
            "num_res_blocks": "depth",
            "attention_resolutions": "attention_resolutions",
            "use_scale_shift_norm": "use_scale_shift_norm",
            "resblock_updown": "resblock_updown",
        }
        own = {name: read[f"classifier_{flag}"] for name, flag in names.items()}
        require_choice("--flags: classifier_pool", read["classifier_pool"], POOLS)
        return backbone(read | fixed | own) | {
            "channels": read["classifier_width"],
            "out_channels": read["num_classes"],
            "channel_mult": _published_mult(read["image_size"], kind),
            "pool": read["classifier_pool"],
        }
    if kind == "superres":
        read = read | {"image_size": read["large_size"]}
    network = backbone(read) | {
        "channels": read["num_channels"],
        "out_channels": 6 if process.learn_sigma else 3,
        "channel_mult": read["channel_mult"] or _published_mult(read["image_size"], kind),
    }
    return network | denoiser(read, read["num_classes"] if read["class_cond"] else 0, kind == "superres")


def _published_mult(image_size: int, kind: str) -> str:
    """The multipliers that the original's command line takes for a size; its upsampler to 512 differs."""
    table = {512: "0.5,1,1,2,2,4,4", 256: "1,1,2,2,4,4", 128: "1,1,2,3,4", 64: "1,2,3,4", 32: "1,2,2,2"}
    if kind == "superres":
        table = {512: "1,1,2,2,4,4", 256: "1,1,2,2,4,4", 64: "1,2,3,4"}
    flag = "large_size" if kind == "superres" else "image_size"
    require(
        image_size in table,
        f"--flags has {flag}={image_size}, for which the originals have no channel_mult; it must be one of "
        f"{', '.join(map(str, sorted(table)))}" + ("." if kind == "classifier" else ", or give channel_mult."),
    )
    return table[image_size]
