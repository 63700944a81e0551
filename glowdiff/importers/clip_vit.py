"""CLIP with a Vision Transformer: OpenAI's, open_clip's and Hugging Face's layouts of the same weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from glowdiff.errors import require
from glowdiff.importers.clip import clip_tokenizer
from glowdiff.importers.flags import require_positive, values
from glowdiff.importers.mapping import Arrays, Path, Source, WeightsError, conv, matrix, stacked, third
from glowdiff.importers.measuring import measuring_family
from glowdiff.networks.feature_networks import PlainCLIP
from glowdiff.text.tokenizer import Tokenizer

_BASE = {
    "embed_dim": 512, "image_resolution": 224, "vision_layers": 12, "vision_width": 768, "vision_patch_size": 32,
    "vision_head_width": 64, "context_length": 77, "vocab_size": 49_408, "transformer_width": 512,
    "transformer_heads": 8, "transformer_layers": 12, "quick_gelu": True,
}  # fmt: skip
_LARGE = _BASE | {
    "embed_dim": 768, "vision_layers": 24, "vision_width": 1_024, "vision_patch_size": 14, "transformer_width": 768,
    "transformer_heads": 12,
}  # fmt: skip
RELEASES = {
    "ViT-B/32": _BASE,
    "ViT-B/16": _BASE | {"vision_patch_size": 16},
    "ViT-L/14": _LARGE,
    "ViT-L/14@336px": _LARGE | {"image_resolution": 336},
}

_TOWERS = {"image_tower": "visual.", "text_tower": ""}
_REST: Mapping[Path, Any] = {
    ("image_tower", "patches", "kernel"): ("visual.conv1.weight", conv),
    ("image_tower", "class"): ("visual.class_embedding", np.asarray),
    ("image_tower", "positions"): ("visual.positional_embedding", np.asarray),
    ("image_tower", "out", "kernel"): ("visual.proj", np.asarray),
    ("text_tower", "tokens"): ("token_embedding.weight", np.asarray),
    ("text_tower", "positions"): ("positional_embedding", np.asarray),
    ("text_tower", "out", "kernel"): ("text_projection", np.asarray),
    ("log_scale",): ("logit_scale", np.asarray),
}
_NORMS: Mapping[Path, str] = {
    ("image_tower", "norm_in"): "visual.ln_pre", ("image_tower", "norm_out"): "visual.ln_post",
    ("text_tower", "norm_out"): "ln_final",
}  # fmt: skip
_THIRDS = ("query", "key", "value")  # one array
_LAYERS = {
    "norm_attention": "ln_1", "proj_out": "attn.out_proj", "norm_mlp": "ln_2", "mlp_in": "mlp.c_fc",
    "mlp_out": "mlp.c_proj",
}  # fmt: skip
_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}


def parse(flags: Mapping[str, Any]) -> PlainCLIP:
    """See `Family.parse`: the arguments of OpenAI's constructor, or the `config.json` of transformers."""
    read = values(_openai(flags) if "vision_config" in flags else flags, _BASE)
    require_positive(read, *(name for name in _BASE if name != "quick_gelu"))
    width, head = read["vision_width"], read["vision_head_width"]
    require(width % head == 0, f"--flags has vision_head_width={head}, which does not divide vision_width={width}.")
    network = PlainCLIP(
        "clip_vit", read["image_resolution"], read["vision_patch_size"], width, read["vision_layers"], width // head,
        read["context_length"], read["vocab_size"], read["transformer_width"], read["transformer_layers"],
        read["transformer_heads"], read["embed_dim"], "quick_gelu" if read["quick_gelu"] else "gelu",
    )  # fmt: skip
    network.check("--flags")
    return network


def _openai(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same sizes by OpenAI's names; transformers leaves out what is as in ViT-B/32."""
    vision, text = config["vision_config"] or {}, config.get("text_config") or {}
    width, heads = vision.get("hidden_size", 768), vision.get("num_attention_heads", 12)
    for each, given in (("vision_config", vision), ("text_config", text)):
        hidden = given.get("intermediate_size", 4 * given.get("hidden_size", 0))
        require(
            hidden == 4 * given.get("hidden_size", hidden / 4),
            f"--flags has {each}.intermediate_size={hidden}; only MLPs four times as wide as the rest are read.",
        )
    return {
        "embed_dim": config.get("projection_dim", 512), "image_resolution": vision.get("image_size", 224),
        "vision_layers": vision.get("num_hidden_layers", 12), "vision_width": width,
        "vision_patch_size": vision.get("patch_size", 32), "vision_head_width": width // heads,
        "context_length": text.get("max_position_embeddings", 77), "vocab_size": text.get("vocab_size", 49_408),
        "transformer_width": text.get("hidden_size", 512), "transformer_heads": text.get("num_attention_heads", 8),
        "transformer_layers": text.get("num_hidden_layers", 12),
        "quick_gelu": vision.get("hidden_act", "quick_gelu") == "quick_gelu",
    }  # fmt: skip


def _source(network: PlainCLIP, path: Path) -> Source:
    if path in _REST:
        key, become = _REST[path]
        return Source((key,), become)
    if path[:-1] in _NORMS:
        return Source((f"{_NORMS[path[:-1]]}.{_LEAVES[path[-1]]}",))
    # tower, transformer, blocks, layer, leaf: stacked
    layers = network.layers if path[0] == "image_tower" else network.text_layers
    layer, leaf = path[-2:]
    become = matrix if leaf == "kernel" else np.asarray
    if layer in _THIRDS:
        end, become = f"attn.in_proj_{_LEAVES[leaf]}", third(_THIRDS.index(layer), become)
    else:
        end = f"{_LAYERS[layer]}.{_LEAVES[leaf]}"
    return Source(tuple(f"{_TOWERS[path[0]]}transformer.resblocks.{n}.{end}" for n in range(layers)), stacked(become))


# ---- The layout of transformers.

_TRANSFORMERS = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm": "visual.ln_pre", "vision_model.post_layernorm": "visual.ln_post",
    "vision_model.encoder.layers": "visual.transformer.resblocks",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm": "ln_final", "text_model.encoder.layers": "transformer.resblocks",
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn.out_proj": "attn.out_proj", "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}  # fmt: skip
_PROJECTIONS = {"visual_projection.weight": "visual.proj", "text_projection.weight": "text_projection"}
_ONE_OF_THREE = re.compile(r"(.*)\.self_attn\.([qkv])_proj\.(weight|bias)")


def _renamed(network: PlainCLIP, weights: Arrays) -> Arrays:
    """By OpenAI's names, which open_clip keeps; those of transformers are told by `vision_model`.

    Raises:
      WeightsError: they are of a CLIP whose image tower is a ResNet.
    """
    del network
    if "visual.layer1.0.conv1.weight" in weights:
        raise WeightsError(
            "These are the weights of a CLIP with a ResNet; only those with a Vision Transformer are read."
        )
    if not any(name.startswith("vision_model.") for name in weights):
        return weights
    renamed: dict[str, np.ndarray] = {}
    for name, array in weights.items():
        if match := _ONE_OF_THREE.fullmatch(name):
            if match[2] == "q":
                start, kind = match[1], match[3]
                names = [f"{start}.self_attn.{each}_proj.{kind}" for each in "qkv"]
                if missing := [each for each in names if each not in weights]:
                    raise WeightsError(f"Missing: {', '.join(missing)}.")
                renamed[f"{_openai_name(start)}.attn.in_proj_{kind}"] = np.concatenate([weights[n] for n in names])
        elif name in _PROJECTIONS:
            renamed[_PROJECTIONS[name]] = array.T
        elif not name.endswith("position_ids"):
            renamed[_openai_name(name)] = array
    return renamed


def _openai_name(name: str) -> str:
    for theirs, ours in _TRANSFORMERS.items():
        name = name.replace(theirs, ours)
    return name


def _tokenizer(network: PlainCLIP, vocabulary: FilePath | None) -> Tokenizer:
    return clip_tokenizer(vocabulary, "vocab_size", network.vocab_size)


CLIP_VIT = measuring_family(
    "clip_vit", "CLIP with a Vision Transformer (OpenAI's, open_clip's or transformers' names)", parse, _source,
    releases=RELEASES, unused="input_resolution|context_length|vocab_size", renamed=_renamed,
    vocabulary="CLIP's bpe_simple_vocab_16e6.txt.gz; default: the one of open_clip", tokenizer=_tokenizer,
    flags="OpenAI's (embed_dim, vision_width, ...), with quick_gelu=False for open_clip's own; or transformers' "
    "config.json",
)  # fmt: skip
