"""The flags of GLIDE's denoisers, and what they mean in our network.

As for ADM there are two vocabularies: those of the original's options (`model_and_diffusion_defaults`), in which
`attention_resolutions` are pixels, and the arguments of the networks' constructors, in which they are halvings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glowdiff.errors import require
from glowdiff.importers.network_flags import Flags, Process, backbone, denoiser, read_values, require_sizes, sized

_ENLARGES = 4  # the published upsampler, from 64 to 256 pixels
_MULT = {256: "1,1,2,2,4,4", 128: "1,1,2,3,4", 64: "1,2,3,4"}
# What both vocabularies have.
_TEXT: dict[str, Any] = {
    "text_ctx": 128, "xf_width": 512, "xf_layers": 16, "xf_heads": 8, "xf_final_ln": True, "xf_padding": True,
    "n_vocab": 50_257,
}  # fmt: skip
_PROCESS: dict[str, Any] = {
    "diffusion_steps": 1000, "noise_schedule": "squaredcos_cap_v2", "timestep_respacing": "", "small_size": 0,
}  # fmt: skip
_OPTIONS: dict[str, Any] = {
    "image_size": 64, "num_channels": 192, "num_res_blocks": 3, "channel_mult": "", "num_heads": 1,
    "num_head_channels": 64, "num_heads_upsample": -1, "attention_resolutions": "32,16,8", "dropout": 0.1,
    "use_scale_shift_norm": True, "resblock_updown": True, "inpaint": False, "super_res": False,
}  # fmt: skip
_UPSAMPLER: dict[str, Any] = {"image_size": 256, "num_res_blocks": 2, "noise_schedule": "linear"}
_CONSTRUCTOR: dict[str, Any] = {
    "model": "Text2ImUNet", "image_size": 0, "in_channels": 3, "model_channels": 0, "out_channels": 0,
    "num_res_blocks": 0, "attention_resolutions": "", "dropout": 0.0, "channel_mult": "1,2,4,8", "conv_resample": True,
    "num_heads": 1, "num_head_channels": -1, "num_heads_upsample": -1, "use_scale_shift_norm": False,
    "resblock_updown": False,
}  # fmt: skip
# Of each network: does it inpaint, does it enlarge?
_MODELS = {
    "Text2ImUNet": (False, False),
    "SuperResText2ImUNet": (False, True),
    "InpaintText2ImUNet": (True, False),
    "SuperResInpaintText2ImUnet": (True, True),
}
_IGNORED = ("use_fp16", "cache_text_emb", "use_checkpoint", "dims", "tokenizer")


def parse(values: Mapping[str, Any]) -> Flags:
    """What a dictionary of flags says; numbers and booleans may be strings.

    `small_size`, the side of the small images, is no flag of the original's; without it an upsampler enlarges fourfold.

    Raises:
      ConfigError: a flag that the original does not have, of another type, or a network that cannot be.
    """
    constructor = "model_channels" in values
    known = (_CONSTRUCTOR if constructor else _OPTIONS) | _TEXT | _PROCESS
    read = read_values(values, known, _IGNORED)
    if constructor:
        require(read["model"] in _MODELS, f"--flags has model={read['model']}; it must be one of {', '.join(_MODELS)}.")
        inpaint, low_res = _MODELS[read["model"]]
        require_sizes(read)
    else:
        inpaint, low_res = read["inpaint"], read["super_res"]
        # An upsampler differs from the base in more than super_res; what the flags leave out is its own.
        own = known | _UPSAMPLER if low_res else known
        read = _named(read_values(values, own, _IGNORED))
    network = _network(read) | denoiser(read, 0, low_res) | {"inpaint": inpaint}
    small = (read["small_size"] or read["image_size"] // _ENLARGES) if low_res else None
    process = Process(
        diffusion_steps=read["diffusion_steps"],
        noise_schedule=read["noise_schedule"],
        timestep_respacing=read["timestep_respacing"],
        learn_sigma=True,
    )
    return Flags("text", sized(network, halvings=constructor), read["in_channels"], process, small)


def _named(read: dict[str, Any]) -> dict[str, Any]:
    """The original's options as the constructor's arguments that it makes of them."""
    size = read["image_size"]
    require(
        bool(read["channel_mult"]) or size in _MULT,
        f"--flags has image_size={size}, for which the original has no channel_mult; it must be one of "
        f"{', '.join(map(str, sorted(_MULT)))}, or give channel_mult.",
    )
    mult = read["channel_mult"] or _MULT[size]
    return read | {"model_channels": read["num_channels"], "in_channels": 3, "out_channels": 6, "channel_mult": mult}


def _network(read: dict[str, Any]) -> dict[str, Any]:
    for name in ("xf_final_ln", "xf_padding"):
        require(read[name], f"--flags has {name}=False; text is read here as by the published models, which have both.")
    names = {
        "vocab": "n_vocab",
        "text_context": "text_ctx",
        "text_width": "xf_width",
        "text_layers": "xf_layers",
        "text_heads": "xf_heads",
    }
    for name in names.values():
        require(read[name] > 0, f"--flags has {name}={read[name]}; it must be at least 1.")
    require(
        read["xf_width"] % read["xf_heads"] == 0,
        f"--flags has xf_heads={read['xf_heads']}, which does not divide xf_width={read['xf_width']}.",
    )
    return backbone(read | {"use_new_attention_order": False}) | {
        "channels": read["model_channels"],
        "out_channels": read["out_channels"],
        "channel_mult": read["channel_mult"],
        "conv_resample": read.get("conv_resample", True),
        **{ours: read[theirs] for ours, theirs in names.items()},
    }
