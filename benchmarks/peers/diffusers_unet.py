"""The UNet of `diffusers` (PyTorch), set up to be the same function as ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from diffusers import DDIMScheduler, UNet2DModel  # pyright: ignore[reportMissingImports]

from benchmarks.peers.diffusers_peer import DiffusersPeer
from glowdiff.networks.unet import UNet

_RESIDUAL = {
    "norm_in": "norm1", "conv_in": "conv1", "embed": "time_emb_proj", "norm_out": "norm2", "conv_out": "conv2",
    "skip": "conv_shortcut",
}  # fmt: skip
_ATTENTION = {"norm": "group_norm", "proj_out": "to_out.0"}
_ENDS = {
    "time_embed.dense_0": "time_embedding.linear_1",
    "time_embed.dense_1": "time_embedding.linear_2",
    "label_embed": "class_embedding",
    "input_blocks_0": "conv_in",
    "norm_out": "conv_norm_out",
    "conv_out": "conv_out",
}
_MIDDLE = {"res_0": "resnets.0", "attention": "attentions.0", "res_1": "resnets.1"}
_PLACE = {"res": "resnets.{}", "attention": "attentions.{}", "down": "downsamplers.0", "up": "upsamplers.0"}


def build(net: UNet, heads_of: int, channels: int) -> Any:
    """A `UNet2DModel` of the shape of ours.

    Args:
      net: ours, with AdaGN and without low-resolution images, which the peer does not know.
      heads_of: channels of each attention head.
      channels: of the images.
    """
    plain_down, plain_up = ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D")
    if not net.updown:
        plain_down, plain_up = ("DownBlock2D", "UpBlock2D")
    resample = "resnet" if net.updown else "conv"
    levels = net.levels
    return UNet2DModel(
        sample_size=net.image_size,
        in_channels=channels,
        out_channels=net.out_channels,
        block_out_channels=tuple(level.channels for level in levels),
        layers_per_block=net.res_blocks,
        down_block_types=tuple("AttnDownBlock2D" if level.attention else plain_down for level in levels),
        up_block_types=tuple("AttnUpBlock2D" if level.attention else plain_up for level in reversed(levels)),
        downsample_type=resample,
        upsample_type=resample,
        attention_head_dim=heads_of,
        attn_norm_num_groups=32,  # else AdaGN switches the norm of the middle's attention off
        resnet_time_scale_shift="scale_shift",
        num_class_embeds=net.classes or None,
    )


def weights(net: UNet, params: Mapping[str, Any]) -> dict[str, Any]:
    """Our parameters under the peer's names and in its layouts.

    Raises:
      KeyError: one of ours has no counterpart.
    """
    found: dict[str, Any] = {}
    for path, array in _leaves(params):
        *layers, leaf = path
        key = _key(net, ".".join(layers))
        if layers[-1] == "qkv":
            for name, part in zip(("to_q", "to_k", "to_v"), _parts(net, array), strict=True):
                found[f"{key.replace('qkv', name)}.{_leaf(leaf)}"] = _layout(part)
        else:
            array = _layout(array) if leaf == "kernel" else array
            if layers[-1] == "skip" and leaf == "kernel":
                array = array[:, :, None, None]
            found[f"{key}.{_leaf(leaf)}"] = array
    return {key: torch.from_numpy(np.array(array, np.float32)) for key, array in found.items()}


def diffusers_peer(model: Any, images: np.ndarray, labels: np.ndarray | None, **how: Any) -> DiffusersPeer:
    """A `UNet2DModel` at work on images, uint8 [B, H, W, C], and their labels [B]; `how`: see `DiffusersPeer`."""
    # Ours: linear noise, every 20th timestep from 0 on, x_0 clipped and eps derived from it.
    ddim = DDIMScheduler(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear")
    ddim.set_timesteps(50)
    told = {} if labels is None else {"class_labels": labels.astype(np.int64)}
    return DiffusersPeer(model, ddim, images.astype(np.float32) / 127.5 - 1, told, **how)


def _leaves(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Any:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), np.asarray(value)


def _key(net: UNet, name: str) -> str:
    """The peer's name of one of our layers."""
    if name in _ENDS:
        return _ENDS[name]
    block, _, layer = name.partition(".")
    names = _ATTENTION if block.endswith("attention") else _RESIDUAL
    layer = names.get(layer, layer) or "conv"  # a bare convolution resamples
    if block.startswith("middle_"):
        return f"mid_block.{_MIDDLE[block.removeprefix('middle_')]}.{layer}"
    match = re.fullmatch(r"(input|output)_blocks_(\d+)_(\w+)", block)
    if match is None:
        raise KeyError(name)
    half, number, part = match[1], int(match[2]), match[3]
    # A level has res_blocks blocks and the one that halves on the way down, res_blocks + 1 blocks on the way up.
    level, place = divmod(number - (half == "input"), net.res_blocks + 1)
    return f"{'down' if half == 'input' else 'up'}_blocks.{level}.{_PLACE[part].format(place)}.{layer}"


def _leaf(name: str) -> str:
    return {"kernel": "weight", "scale": "weight", "embedding": "weight", "bias": "bias"}[name]


def _parts(net: UNet, array: np.ndarray) -> np.ndarray:
    """Queries', keys' and values' share of a layer's output, heads one after the other: [..., 3C] -> [3, ..., C]."""
    channels = array.shape[-1] // 3
    heads = channels // net.head_channels if net.head_channels else net.heads
    shape, axis = ((3, heads, -1), -3) if net.new_order else ((heads, 3, -1), -2)
    split = np.moveaxis(array.reshape(*array.shape[:-1], *shape), axis, 0)
    return split.reshape(3, *array.shape[:-1], channels)


def _layout(kernel: np.ndarray) -> np.ndarray:
    """[..., in, out] -> [out, in, ...]; biases stay."""
    return np.moveaxis(kernel, (-1, -2), (0, 1)) if kernel.ndim > 1 else kernel
