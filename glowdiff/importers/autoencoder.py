"""Latent diffusion's first stages, KL and VQ: the originals' names of weights, and those of diffusers, old and new.

What a file holds follows from its keys and shapes alone; other importers call `variables` for the part of theirs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from glowdiff.importers.mapping import Arrays, Path, Source, WeightsError, conv, convert, float32, leaves, matrix
from glowdiff.networks.autoencoders import LDM
from glowdiff.networks.bottleneck import KL, VQ, Bottleneck

PREFIX = "first_stage_model."  # of the keys in files that hold more
UNUSED = r"(loss|model_ema)\..*"  # what trained it, averages by names without dots
_CODEBOOK = "quantize.embedding.weight"

# Layers of our blocks, and the original's.
_RESIDUAL = {"norm_in": "norm1", "conv_in": "conv1", "norm_out": "norm2", "conv_out": "conv2", "skip": "nin_shortcut"}
_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}
# The original's layers, by what diffusers calls them; the second half of attention's are from before its 0.17.
_DIFFUSERS = {
    "conv_shortcut": "nin_shortcut", "group_norm": "norm",
    "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out",
    "query": "q", "key": "k", "value": "v", "proj_attn": "proj_out",
}  # fmt: skip
_KINDS = {"resnets": "block", "attentions": "attn", "downsamplers": "downsample", "upsamplers": "upsample"}
_LEVEL = re.compile(rf"(encoder|decoder)\.(down|up)_blocks\.(\d+)\.({'|'.join(_KINDS)})\.(\d+)\.(.+)\.(weight|bias)")
_MIDDLE = re.compile(r"(encoder|decoder)\.mid_block\.(resnets|attentions)\.(\d+)\.(.+)\.(weight|bias)")


class FirstStage(NamedTuple):
    """An autoencoder as its weights describe it."""

    network: LDM  # the `network` section
    bottleneck: Bottleneck  # the `bottleneck` section
    image_channels: int


def variables(weights: Arrays, leaf: Callable[[np.ndarray], Any] = float32) -> tuple[FirstStage, dict[str, Any]]:
    """What an autoencoder is, and the parameters of its module (`LDM.module`).

    Args:
      weights: by the names of either layout, with or without `PREFIX`; with it, whatever else there is does not matter.
      leaf: what to keep of each converted array.

    Raises:
      WeightsError: they are of no such autoencoder, or some are missing, not expected, or of another shape.
    """
    weights = renamed(weights)
    stage = recognised(weights)
    module = stage.network.module(stage.image_channels, stage.bottleneck, "float32")
    image = jax.ShapeDtypeStruct((1, *[stage.network.factor] * 2, stage.image_channels), jnp.float32)
    shapes = jax.eval_shape(module.init, jax.random.key(0), image)["params"]
    expected = leaves(shapes)
    arrays = convert(weights, {path: _source(path) for path in expected}, expected, leaf, UNUSED)
    return stage, jax.tree.unflatten(jax.tree.structure(shapes), [arrays[path] for path in expected])


def renamed(weights: Arrays) -> dict[str, np.ndarray]:
    """The weights of the autoencoder by the original's names, whoever has saved them."""
    if any(name.startswith(PREFIX) for name in weights):
        weights = {name.removeprefix(PREFIX): array for name, array in weights.items() if name.startswith(PREFIX)}
    ups = {int(match[3]) for match in map(_LEVEL.fullmatch, weights) if match and match[2] == "up"}
    return {_original(name, max(ups, default=0)): array for name, array in weights.items()}


def recognised(weights: Arrays) -> FirstStage:
    """What the weights, by the original's names, are of.

    Raises:
      WeightsError: they are of no such autoencoder.
    """
    widths: list[int] = []
    try:
        first, entry, exit = (
            np.shape(weights[f"{name}.weight"]) for name in ("encoder.conv_in", "decoder.conv_in", "post_quant_conv")
        )
        while (name := f"encoder.down.{len(widths)}.block.0.conv2.weight") in weights:
            widths.append(np.shape(weights[name])[0])
        channels, image_channels, z_channels, latent_channels = first[0], first[1], entry[1], exit[1]
    except (IndexError, KeyError) as error:
        raise WeightsError(
            f"These are not the weights of an autoencoder of latent diffusion: {error} is missing, by the original's "
            "names (encoder.conv_in.weight, ...) and by those of diffusers."
        ) from error
    blocks = 0
    while f"encoder.down.0.block.{blocks}.conv1.weight" in weights:
        blocks += 1
    attending = [2**i for i in range(len(widths)) if f"encoder.down.{i}.attn.0.q.weight" in weights]
    network = LDM(
        "ldm", channels=channels, channel_mult=",".join(f"{width / channels:g}" for width in widths), res_blocks=blocks,
        attention=",".join(map(str, attending)), middle_attention="encoder.mid.attn_1.q.weight" in weights,
        z_channels=z_channels,
    )  # fmt: skip
    network.check("The weights' network")
    if _CODEBOOK in weights:
        return FirstStage(network, VQ("vq", latent_channels, codes=np.shape(weights[_CODEBOOK])[0]), image_channels)
    return FirstStage(network, KL("kl", latent_channels), image_channels)


def _original(name: str, last: int) -> str:
    """The original's name of a weight that diffusers may have renamed; `last` is the number of the full resolution."""
    if match := _LEVEL.fullmatch(name):
        half, way, number, kind, index, layer, leaf = match.groups()
        level = last - int(number) if way == "up" else int(number)
        part = _KINDS[kind] + ("" if kind.endswith("samplers") else f".{index}")
        return f"{half}.{way}.{level}.{part}.{_DIFFUSERS.get(layer, layer)}.{leaf}"
    if match := _MIDDLE.fullmatch(name):
        half, kind, index, layer, leaf = match.groups()
        part = f"{'attn' if kind == 'attentions' else 'block'}_{int(index) + 1}"
        return f"{half}.mid.{part}.{_DIFFUSERS.get(layer, layer)}.{leaf}"
    return name.replace(".conv_norm_out.", ".norm_out.")


def _source(path: Path) -> Source:
    """Where one of our arrays comes from."""
    if path == ("codebook",):
        return Source((_CODEBOOK,))
    half, block, *rest = path
    leaf = _LEAVES[path[-1]]
    if block in ("quant_conv", "post_quant_conv"):
        return Source((f"{block}.{leaf}",), _become(path, matrix))
    if not rest[1:]:  # a layer of its own
        return Source((f"{half}.{_alone(half, block)}.{leaf}",), _become(path, conv))
    name, layer = _block(half, block), rest[0]
    if layer == "qkv":
        return Source(tuple(f"{name}.{each}.{leaf}" for each in "qkv"), _joined(_become(path, matrix)))
    theirs = _RESIDUAL[layer] if "_res_" in block else layer
    return Source((f"{name}.{theirs}.{leaf}",), _become(path, conv if layer.startswith("conv") else matrix))


def _become(path: Path, kernel: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    return kernel if path[-1] == "kernel" else np.asarray


def _joined(each: Callable[[np.ndarray], np.ndarray]) -> Callable[..., np.ndarray]:
    """Queries, keys and values in one array, [..., 3 out]."""
    return lambda *arrays: np.concatenate([each(array) for array in arrays], -1)


def _alone(half: str, name: str) -> str:
    """The original's name of a convolution or norm between blocks."""
    match = re.fullmatch(r"level_(\d+)_(down|up)", name)
    return f"{match[2]}.{match[1]}.{match[2]}sample.conv" if match else name


def _block(half: str, name: str) -> str:
    """The original's name of a block."""
    if name == "middle_attention":
        return f"{half}.mid.attn_1"
    if match := re.fullmatch(r"middle_res_(\d)", name):
        return f"{half}.mid.block_{int(match[1]) + 1}"
    _, level, kind, number = name.split("_")
    way = "down" if half == "encoder" else "up"
    return f"{half}.{way}.{level}.{'block' if kind == 'res' else 'attn'}.{number}"
