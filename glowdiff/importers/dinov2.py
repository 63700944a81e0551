"""DINOv2, `dinov2_vit*14_pretrain.pth`: the flags are arguments of the original's constructor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from glowdiff.errors import require, require_choice
from glowdiff.importers.flags import require_positive, values
from glowdiff.importers.mapping import Path, Source, conv, matrix, stacked, third
from glowdiff.importers.measuring import measuring_family
from glowdiff.networks.feature_networks import DINOv2ViT

_SMALL = {
    "img_size": 518, "patch_size": 14, "embed_dim": 384, "depth": 12, "num_heads": 6, "mlp_ratio": 4.0,
    "init_values": 1.0, "ffn_layer": "mlp", "num_register_tokens": 0,
}  # fmt: skip
RELEASES = {
    "dinov2_vits14": _SMALL,
    "dinov2_vitb14": _SMALL | {"embed_dim": 768, "num_heads": 12},
    "dinov2_vitl14": _SMALL | {"embed_dim": 1_024, "depth": 24, "num_heads": 16},
    "dinov2_vitg14": _SMALL | {"embed_dim": 1_536, "depth": 40, "num_heads": 24, "ffn_layer": "swiglufused"},
}
_GATED = ("swiglufused", "swiglu")

_LAYERS = {
    "norm_attention": "norm1", "query": "attn.qkv", "key": "attn.qkv", "value": "attn.qkv", "proj_out": "attn.proj",
    "scale_attention": "ls1.gamma", "norm_mlp": "norm2", "scale_mlp": "ls2.gamma",
}  # fmt: skip
_MLPS = {True: {"mlp_in": "mlp.w12", "mlp_out": "mlp.w3"}, False: {"mlp_in": "mlp.fc1", "mlp_out": "mlp.fc2"}}
_REST = {
    ("class",): ("cls_token", lambda array: array.reshape(array.shape[-1])),
    ("positions",): ("pos_embed", lambda array: array.reshape(array.shape[-2:])),
    ("patches", "kernel"): ("patch_embed.proj.weight", conv),
    ("patches", "bias"): ("patch_embed.proj.bias", np.asarray),
    ("norm_out", "scale"): ("norm.weight", np.asarray),
    ("norm_out", "bias"): ("norm.bias", np.asarray),
}
_THIRDS = ("query", "key", "value")  # one array


def parse(flags: Mapping[str, Any]) -> DINOv2ViT:
    """See `Family.parse`."""
    read = values(flags, _SMALL)
    require_positive(read, "img_size", "patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio", "init_values")
    require_choice("--flags ffn_layer", read["ffn_layer"], ("mlp", *_GATED))
    require(
        read["num_register_tokens"] == 0,
        f"--flags has num_register_tokens={read['num_register_tokens']}; FD-DINOv2 is of the networks without "
        "registers, and only these are read.",
    )
    gated = read["ffn_layer"] in _GATED
    hidden = int(read["embed_dim"] * read["mlp_ratio"])
    if read["ffn_layer"] == "swiglufused":
        hidden = (int(hidden * 2 / 3) + 7) // 8 * 8
    network = DINOv2ViT(
        "dinov2", read["img_size"], read["patch_size"], read["embed_dim"], read["depth"], read["num_heads"], hidden,
        gated,
    )  # fmt: skip
    network.check("--flags")
    return network


def _source(network: DINOv2ViT, path: Path) -> Source:
    if path in _REST:
        key, become = _REST[path]
        return Source((key,), become)
    layer, leaf = path[1], path[-1]
    names = _LAYERS | _MLPS[network.gated]
    end = names[layer] if layer == leaf else f"{names[layer]}.{'bias' if leaf == 'bias' else 'weight'}"
    become: Callable[[np.ndarray], np.ndarray] = matrix if leaf == "kernel" else np.asarray
    if layer in _THIRDS:
        become = third(_THIRDS.index(layer), become)
    return Source(tuple(f"blocks.{n}.{end}" for n in range(network.layers)), stacked(become))


DINOV2 = measuring_family(
    "dinov2", "DINOv2 (PyTorch)", parse, _source, releases=RELEASES, unused="mask_token",
    flags="of its constructor: embed_dim, depth, ...",
)  # fmt: skip
