"""The flags of guided-diffusion and improved-diffusion, and what they mean in our networks.

Two vocabularies are understood: the command-line flags that the releases are documented with, in which
`attention_resolutions` are pixels, and the arguments of the networks' constructors, in which they are halvings.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from glowdiff.config.schema import ConfigError, require, require_choice
from glowdiff.denoisers.plan import check_unet
from glowdiff.guides.classifier import POOLS
from glowdiff.importers.flags import typed

CLASSES = 1000  # of ImageNet: the originals know no other number


@dataclass(frozen=True)
class Process:
    """The process that a network was trained for; names and defaults are guided-diffusion's."""

    diffusion_steps: int = 1000
    noise_schedule: str = "linear"
    timestep_respacing: str = ""
    learn_sigma: bool = False
    sigma_small: bool = False
    use_kl: bool = False
    predict_xstart: bool = False
    rescale_timesteps: bool = False
    rescale_learned_sigmas: bool = False


class Flags(NamedTuple):
    """What the flags say."""

    kind: str  # unet | superres | classifier
    network: dict[str, Any]  # arguments of our module
    in_channels: int  # of the images
    process: Process
    small_size: int | None  # superres, where the flags tell: side of the small images


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
_TRUE, _FALSE = ("yes", "true", "t", "y", "1"), ("no", "false", "f", "n", "0")


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
    read = known | _PROCESS
    read |= {name: _typed(name, value, read[name]) for name, value in values.items() if _is_known(name, read)}
    process = Process(**{name: read[name] for name in _PROCESS})
    network = _constructor(read, kind) if constructor else _command_line(read, kind, process)
    network |= _sizes(network, halvings=constructor)
    sizes = ("image_size", "channels", "channel_mult", "attention", "heads", "head_channels")
    try:
        check_unet(*(network[name] for name in sizes))
    except ConfigError as error:
        raise ConfigError(f"--flags ask for a network that cannot be: {error}") from error
    return Flags(kind, network, read.get("in_channels", 3), process, read.get("small_size") or None)


def _is_known(name: str, known: Mapping[str, Any]) -> bool:
    if name in known:
        return True
    if name in _IGNORED:
        return False
    close = difflib.get_close_matches(name, [*known, *_IGNORED], 1)
    hint = f" Did you mean {close[0]}?" if close else f" Known: {', '.join(known)}."
    raise ConfigError(f"--flags has {name}, which the originals do not know of such a network.{hint}")


def _typed(name: str, value: Any, default: Any) -> Any:
    kind = type(default)
    if kind is str:
        return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value).strip()
    return typed(name, 0 if value is None else value, kind, _TRUE, _FALSE)


def _constructor(read: dict[str, Any], kind: str) -> dict[str, Any]:
    for name in ("image_size", "model_channels", "out_channels", "num_res_blocks"):
        require(read[name] > 0, f"--flags has {name}={read[name]}; it must be there and at least 1.")
    network = _shared(read) | {
        "channels": read["model_channels"],
        "out_channels": read["out_channels"],
        "channel_mult": read["channel_mult"],
        "conv_resample": read["conv_resample"],
    }
    if kind == "classifier":
        require_choice("--flags: pool", read["pool"], POOLS)
        return network | {"pool": read["pool"]}
    return network | _denoiser(read, kind, read["num_classes"])


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
        return _shared(read | fixed | own) | {
            "channels": read["classifier_width"],
            "out_channels": read["num_classes"],
            "channel_mult": _published_mult(read["image_size"], kind),
            "pool": read["classifier_pool"],
        }
    if kind == "superres":
        read = read | {"image_size": read["large_size"]}
    network = _shared(read) | {
        "channels": read["num_channels"],
        "out_channels": 6 if process.learn_sigma else 3,
        "channel_mult": read["channel_mult"] or _published_mult(read["image_size"], kind),
    }
    return network | _denoiser(read, kind, read["num_classes"] if read["class_cond"] else 0)


def _shared(read: dict[str, Any]) -> dict[str, Any]:
    return {
        "image_size": read["image_size"],
        "res_blocks": read["num_res_blocks"],
        "attention": read["attention_resolutions"],
        "heads": read["num_heads"],
        "head_channels": read["num_head_channels"] if read["num_head_channels"] != -1 else None,
        "adagn": read["use_scale_shift_norm"],
        "updown": read["resblock_updown"],
        "new_order": read["use_new_attention_order"],
        "dropout": read["dropout"],
    }


def _denoiser(read: dict[str, Any], kind: str, classes: int) -> dict[str, Any]:
    heads = read["num_heads_upsample"]
    return {"classes": classes, "heads_up": heads if heads != -1 else None, "low_res": kind == "superres"}


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


def _sizes(network: dict[str, Any], halvings: bool) -> dict[str, Any]:
    """Multipliers and attention as numbers. Like the originals, ask in vain for attention where there is no level."""
    mult = tuple(_numbers("channel_mult", network["channel_mult"]))
    asked = [int(value) for value in _numbers("attention_resolutions", network["attention"])]
    require(all(value > 0 for value in asked), f"--flags has attention_resolutions={network['attention']}.")
    size = network["image_size"]
    factors = asked if halvings else [size // side for side in asked]
    attention = tuple(size // 2**level for level in range(len(mult)) if 2**level in factors)
    return {"channel_mult": mult, "attention": attention}


def _numbers(name: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise ConfigError(f"--flags has {name}={text}; it must be numbers with commas in between.") from None
