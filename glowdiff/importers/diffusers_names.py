"""The names of a UNet's arrays in folders of diffusers, and those in the original's files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_PLACES = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "class_embedding": "label_emb", "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}  # fmt: skip
_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
_PART = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)")


def original_names(names: Iterable[str]) -> dict[str, str]:
    """The original's name of every array, by diffusers' or the original's; strange names stay as they are."""
    names = list(names)
    parts = {match[0]: match for match in map(_PART.match, names) if match}
    # Input blocks of a level; the last level has no block that halves.
    blocks = 1 + max(
        (int(match[4]) for match in parts.values() if match[1] == "down" and match[3] == "resnets"), default=0
    )
    return {name: _original(name, blocks, parts) for name in names}


def _original(name: str, blocks: int, parts: Mapping[str, re.Match[str]]) -> str:
    match = _PART.match(name)
    if match is not None:
        half, level, kind, number = match[1], int(match[2]), match[3], int(match[4])
        place, rest = _place(half, level, kind, number, blocks, parts), name[match.end() + 1 :]
    else:
        old = next((old for old in _PLACES if name.startswith(f"{old}.")), None)
        if old is None:
            return name
        place, rest, kind = _PLACES[old], name[len(old) + 1 :], old.split(".")[-2] if "." in old else ""
    if kind in ("downsamplers", "upsamplers"):  # conv.weight
        return f"{place}.{rest.removeprefix('conv.')}"
    layer, _, leaf = rest.partition(".")
    return f"{place}.{_RESNET[layer]}.{leaf}" if kind == "resnets" and layer in _RESNET else f"{place}.{rest}"


def _place(half: str, level: int, kind: str, number: int, blocks: int, parts: Mapping[str, Any]) -> str:
    if half == "down":
        first = 1 + level * (blocks + 1)
        if kind == "downsamplers":
            return f"input_blocks.{first + blocks}.0.op"
        return f"input_blocks.{first + number}.{int(kind == 'attentions')}"
    first = level * (blocks + 1)
    if kind == "upsamplers":
        attends = f"up_blocks.{level}.attentions.{blocks}" in parts
        return f"output_blocks.{first + blocks}.{1 + attends}.conv"
    return f"output_blocks.{first + number}.{int(kind == 'attentions')}"
