"""GLIDE's denoisers (PyTorch): base, upsampler, and both for inpainting.

As for ADM there are two vocabularies of flags: those of the original's options (`model_and_diffusion_defaults`), in
which `attention_resolutions` are pixels, and the arguments of the networks' constructors, in which they are halvings.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from glowdiff.catalog.parse import Settings, defaults
from glowdiff.catalog.recipes import glide_training
from glowdiff.data.sets.stock import OWN
from glowdiff.errors import require, require_choice
from glowdiff.importers import unet
from glowdiff.importers.family import Family
from glowdiff.importers.flags import require_positive, values
from glowdiff.importers.mapping import Path, Source, matrix, stacked
from glowdiff.importers.unet import CONSTRUCTOR, Flags
from glowdiff.spec import DataSpec
from glowdiff.text import tokenizer as tokenizers
from glowdiff.text.tokenizer import Tokenizer

_MULT = {256: "1,1,2,2,4,4", 128: "1,1,2,3,4", 64: "1,2,3,4"}
# What both vocabularies have; `small_size`, the side of the small images, is no flag of the original's.
_BOTH: dict[str, Any] = {
    "text_ctx": 128, "xf_width": 512, "xf_layers": 16, "xf_heads": 8, "xf_final_ln": True, "xf_padding": True,
    "n_vocab": 50_257, "diffusion_steps": 1000, "noise_schedule": "squaredcos_cap_v2", "timestep_respacing": "",
    "small_size": 0,
}  # fmt: skip
_OPTIONS: dict[str, Any] = _BOTH | {
    "image_size": 64, "num_channels": 192, "num_res_blocks": 3, "channel_mult": "", "num_heads": 1,
    "num_head_channels": 64, "num_heads_upsample": -1, "attention_resolutions": "32,16,8", "dropout": 0.1,
    "use_scale_shift_norm": True, "resblock_updown": True, "inpaint": False, "super_res": False,
}  # fmt: skip
_UPSAMPLER: dict[str, Any] = {"image_size": 256, "num_res_blocks": 2, "noise_schedule": "linear"}
# Of each network: does it inpaint, does it enlarge?
_MODELS = {
    "Text2ImUNet": (False, False), "SuperResText2ImUNet": (False, True), "InpaintText2ImUNet": (True, False),
    "SuperResInpaintText2ImUnet": (True, True),
}  # fmt: skip
_IGNORED = (*unet.IGNORED, "cache_text_emb", "tokenizer")
_TEXT = {
    "vocab_size": "n_vocab", "context": "text_ctx", "width": "xf_width", "layers": "xf_layers", "heads": "xf_heads",
}  # fmt: skip

# Filtered; what `parse` assumes where nothing is said is what they have.
RELEASES: dict[str, dict[str, Any]] = {
    "base": {"super_res": False, "inpaint": False},
    "upsample": {"super_res": True, "inpaint": False},
    "base-inpaint": {"super_res": False, "inpaint": True},
    "upsample-inpaint": {"super_res": True, "inpaint": True},
}

# Our layers of the text encoder, and of its transformer's blocks, and the original's.
_ENCODER = ("params", "text_encoder")
_LAYERS = {"norm_out": "final_ln", "proj_out": "transformer_proj", "token_embedding": "token_embedding"}
_BLOCK = {
    "norm_attention": "ln_1", "query": "attn.c_qkv", "key": "attn.c_qkv", "value": "attn.c_qkv",
    "proj_out": "attn.c_proj", "norm_mlp": "ln_2", "mlp_in": "mlp.c_fc", "mlp_out": "mlp.c_proj",
}  # fmt: skip
_PARTS = ("query", "key", "value")


def parse(flags: Mapping[str, Any]) -> Flags:
    """See `Family.parse`; without `small_size` an upsampler enlarges fourfold."""
    constructor = "model_channels" in flags
    if constructor:
        read = values(flags, CONSTRUCTOR | _BOTH | {"model": "Text2ImUNet"}, _IGNORED)
        require_choice("--flags: model", read["model"], _MODELS)
        inpaint, enlarges = _MODELS[read["model"]]
    else:
        # An upsampler differs from the base in more than super_res; what the flags leave out is its own.
        enlarges = values(flags, _OPTIONS, _IGNORED)["super_res"]
        read = values(flags, _OPTIONS | (_UPSAMPLER if enlarges else {}), _IGNORED)
        inpaint, size = read["inpaint"], read["image_size"]
        mult = read["channel_mult"] or unet.published_mult("image_size", size, _MULT)
        read |= {"model_channels": read["num_channels"], "in_channels": 3, "out_channels": 6, "channel_mult": mult}
    return unet.constructed(
        "text",
        read | {"learn_sigma": read["out_channels"] == 2 * read["in_channels"]},
        halvings=constructor,
        classes=0,
        text=_text(read),
        inpaint=inpaint,
        small_size=(read["small_size"] or unet.quarter(read["image_size"])) if enlarges else None,
    )


def _text(read: Mapping[str, Any]) -> dict[str, Any]:
    for name in ("xf_final_ln", "xf_padding"):
        require(read[name], f"--flags has {name}=False; text is read here as by the published models, which have both.")
    require_positive(read, *_TEXT.values())
    require(
        read["xf_width"] % read["xf_heads"] == 0,
        f"--flags has xf_heads={read['xf_heads']}, which does not divide xf_width={read['xf_width']}.",
    )
    return {ours: read[theirs] for ours, theirs in _TEXT.items()}


def _spec(flags: Flags, name: str) -> DataSpec:
    """What the flags say of the data; sets of TFDS have no captions."""
    return unet.spec(flags, name, captions=name in OWN)


def _data(flags: Flags, release: str | None) -> dict[str, Any]:
    """A folder that is not there; whoever trains on names one of captioned images."""
    return {"name": "folder", "path": "captioned_images", "size": flags.side}


def _settings(flags: Flags, data: Mapping[str, Any], batch: int) -> Settings:
    """With sampling as in the release."""
    config = defaults("diffusion", text="glide")
    unet.configure(config, flags)
    config.model.text.update(tokenizer="gpt2", **(flags.text or {}))
    glide_training(config, steps=500_000, batch=batch or 256)
    unet.respace(config, flags)
    return config


def _tokenizer(flags: Flags, vocabulary: FilePath | None) -> Tokenizer:
    tokenizer = tokenizers.gpt2(vocabulary)
    rows = (flags.text or {})["vocab_size"]
    require(
        tokenizer.size == rows,
        f"{'--vocab' if vocabulary else 'GPT-2'} has {tokenizer.size:,} tokens; the flags ask for n_vocab={rows}.",
    )
    return tokenizer


def _sources(flags: Flags, paths: list[Path]) -> dict[str, dict[Path, Source]]:
    layers = unet.sources([path for path in paths if path[:2] != _ENCODER], unet.END)
    return {"weights": {path: layers.get(path) or _text_source(path, flags.text or {}) for path in paths}}


def _text_source(path: Path, text: Mapping[str, Any]) -> Source:
    name, kind = path[2], "bias" if path[-1] == "bias" else "weight"
    each = matrix if path[-1] == "kernel" else np.asarray
    if len(path) == 3:  # a table of positions
        return Source((name,))
    if name != "transformer":
        return Source((f"{_LAYERS[name]}.{kind}",), each)
    layer = path[-2]
    keys = tuple(f"transformer.resblocks.{i}.{_BLOCK[layer]}.{kind}" for i in range(text["layers"]))
    if layer in _PARTS:
        each = partial(_part, part=_PARTS.index(layer), heads=text["heads"])
    return Source(keys, stacked(each))


def _part(array: np.ndarray, part: int, heads: int) -> np.ndarray:
    """Of a layer that makes queries, keys and values, [heads * 3 * channels (, in)]: one of the three, [(in,) out]."""
    split = array.reshape(heads, 3, -1, *array.shape[1:])[:, part]
    return split.reshape(-1, *array.shape[1:]).T


GLIDE = Family(
    name="glide",
    help="a denoiser of GLIDE that reads captions (PyTorch)",
    parse=parse,
    spec=_spec,
    data=_data,
    settings=_settings,
    sources=_sources,
    releases=RELEASES,
    unpublished="Its images were never published: to fine-tune it on yours, give train.py "
    "--config=configs/finetune.py:{workdir}.",
    vocabulary="a file of GPT-2's vocabulary; default: what tiktoken fetches",
    tokenizer=_tokenizer,
)
