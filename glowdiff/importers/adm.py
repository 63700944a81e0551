"""The published checkpoints of ADM and Improved DDPM (PyTorch), key by key."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glowdiff.denoisers.unet import UNet
from glowdiff.guides.classifier import Classifier
from glowdiff.importers import adm_flags
from glowdiff.importers.mapping import Path, Source, check_shapes, convert

# Our layers and the original's, in a residual block, in an attention block, and at a network's end.
_RESIDUAL = {
    "norm_in": "in_layers.0", "conv_in": "in_layers.2", "embed": "emb_layers.1", "norm_out": "out_layers.0",
    "conv_out": "out_layers.3", "skip": "skip_connection",
}  # fmt: skip
_ENDS = {
    "unet": {"norm_out": "out.0", "conv_out": "out.2"},
    "adaptive": {"norm_out": "out.0", "logits": "out.3"},
    "attention": {"norm_out": "out.0", "pool.qkv": "out.2.qkv_proj", "pool.proj_out": "out.2.c_proj"},
    "spatial": {"hidden": "out.0", "logits": "out.2"},
    "spatial_v2": {"hidden": "out.0", "norm_out": "out.1", "logits": "out.3"},
}
_START = {
    "time_embed.dense_0": "time_embed.0",
    "time_embed.dense_1": "time_embed.2",
    "input_blocks_0": "input_blocks.0.0",
}
_MIDDLE = {"middle_res_0": "middle_block.0", "middle_attention": "middle_block.1", "middle_res_1": "middle_block.2"}


def adm(weights: Mapping[str, np.ndarray], flags: Mapping[str, Any]) -> tuple[UNet | Classifier, dict]:
    """A denoiser's, an upsampler's or a noisy classifier's weights as our module and variables.

    Args:
      weights: arrays by the keys of the original's state dict.
      flags: the original's, see `glowdiff.importers.adm_flags`.

    Returns:
      The module and `{"params"}` for `module.apply(variables, x, t, cond)`.

    Raises:
      ConfigError: the flags cannot be.
      WeightsError: a weight is missing, not expected, or of another shape than the flags ask for.
    """
    return _converted(weights, flags, lambda array: jnp.asarray(array, jnp.float32))


def check_adm(shapes: Mapping[str, tuple[int, ...]], flags: Mapping[str, Any]) -> tuple[UNet | Classifier, dict]:
    """As `adm`, of the weights' shapes alone and without their memory: the variables are `jax.ShapeDtypeStruct`s."""
    weights = {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}
    return _converted(weights, flags, lambda array: jax.ShapeDtypeStruct(array.shape, jnp.float32))


def adm_module(flags: adm_flags.Flags) -> UNet | Classifier:
    """The network of these flags, in the originals' arithmetic (float32)."""
    return Classifier(**flags.network) if flags.kind == "classifier" else UNet(**flags.network)


def expected_shapes(module: UNet | Classifier, channels: int) -> Any:
    """The module's variables for images of so many channels, as `jax.ShapeDtypeStruct`s."""
    image = jax.ShapeDtypeStruct((1, module.image_size, module.image_size, channels), jnp.float32)
    t = jax.ShapeDtypeStruct((1,), jnp.float32)
    cond = {"label": jax.ShapeDtypeStruct((1,), jnp.int32), "low_res": image}
    return jax.eval_shape(lambda *args: module.init(jax.random.key(0), *args), image, t, cond)


def _converted(
    weights: Mapping[str, np.ndarray], flags: Mapping[str, Any], leaf: Callable[[np.ndarray], Any]
) -> tuple[UNet | Classifier, dict]:
    parsed = adm_flags.parse(flags)
    module = adm_module(parsed)
    expected = expected_shapes(module, parsed.in_channels)
    sources = _sources(module, expected)
    variables = convert(weights, sources, leaf=leaf)
    check_shapes(variables, expected, sources)
    return module, variables


def _sources(module: UNet | Classifier, expected: Any) -> dict[Path, Source]:
    paths = [tuple(str(entry.key) for entry in path) for path, _ in jax.tree_util.tree_leaves_with_path(expected)]
    layers = {path[:-1] for path in paths}
    ends = _ENDS[module.pool if isinstance(module, Classifier) else "unet"]
    special: dict[Path, Source] = {
        ("params", "label_embed", "embedding"): Source(("label_emb.weight",), np.asarray),
        ("params", "pool", "positional_embedding"): Source(("out.2.positional_embedding",), np.transpose),
    }
    sources: dict[Path, Source] = {}
    for path in paths:
        if path in special:
            sources[path] = special[path]
            continue
        key = _key(".".join(path[1:-1]), ends, layers)
        if path[-1] == "kernel":
            sources[path] = Source((f"{key}.weight",), _conv if _is_conv(path) else _matrix)
        else:
            sources[path] = Source((f"{key}.{'bias' if path[-1] == 'bias' else 'weight'}",), np.asarray)
    return sources


def _key(name: str, ends: Mapping[str, str], layers: set[Path]) -> str:
    """The original's name of one of our layers, `block.layer`."""
    fixed = {**_START, **ends}
    if name in fixed:
        return fixed[name]
    block, _, layer = name.partition(".")
    layer = _RESIDUAL.get(layer, layer) if not block.endswith("_attention") else layer
    if block in _MIDDLE:
        return f"{_MIDDLE[block]}.{layer}"
    half, rest = block.split("_blocks_")
    number, part = rest.split("_")
    where = {"res": 0, "attention": 1, "down": 0, "up": 1}[part]
    if part == "up" and any(path[1] == f"output_blocks_{number}_attention" for path in layers):
        where = 2
    return f"{half}_blocks.{number}.{where}.{layer or {'down': 'op', 'up': 'conv'}[part]}"


def _is_conv(path: Path) -> bool:
    return path[-2] in ("conv_in", "conv_out", "input_blocks_0") or path[-2].endswith(("_down", "_up"))


def _conv(kernel: np.ndarray) -> np.ndarray:
    """[out, in, height, width] -> [height, width, in, out]."""
    return kernel.transpose(2, 3, 1, 0)


def _matrix(kernel: np.ndarray) -> np.ndarray:
    """[out, in], or a convolution over one pixel, [out, in, 1] or [out, in, 1, 1] -> [in, out]."""
    if math.prod(kernel.shape[2:]) != 1:
        raise ValueError("not a matrix")
    return kernel.reshape(kernel.shape[:2]).T
