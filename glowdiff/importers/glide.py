"""The published denoisers of GLIDE (PyTorch), key by key: base, upsampler, and both for inpainting."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glowdiff.importers import glide_flags
from glowdiff.importers.mapping import Path, Source
from glowdiff.importers.network_flags import Flags
from glowdiff.importers.unet_keys import (
    UNET_END,
    backbone_sources,
    expected_shapes,
    from_shapes,
    from_weights,
    matrix,
    paths_of,
)
from glowdiff.networks.text_unet import TextUNet

_TEXT = ("params", "text_encoder")
# Our layers of the text encoder, and of its transformer's blocks, and the original's.
_LAYERS = {"norm_out": "final_ln", "proj_out": "transformer_proj", "token_embedding": "token_embedding"}
_BLOCK = {
    "norm_attention": "ln_1", "query": "attn.c_qkv", "key": "attn.c_qkv", "value": "attn.c_qkv",
    "proj_out": "attn.c_proj", "norm_mlp": "ln_2", "mlp_in": "mlp.c_fc", "mlp_out": "mlp.c_proj",
}  # fmt: skip
_PARTS = ("query", "key", "value")


def glide(weights: Mapping[str, np.ndarray], flags: Mapping[str, Any]) -> tuple[TextUNet, dict]:
    """A text-conditional denoiser's weights as our module and variables.

    Args:
      weights: arrays by the keys of the original's state dict.
      flags: the original's, see `glowdiff.importers.glide_flags`.

    Returns:
      The module and `{"params"}` for `module.apply(variables, x, t, cond)`.

    Raises:
      ConfigError: the flags cannot be.
      WeightsError: a weight is missing, not expected, or of another shape than the flags ask for.
    """
    module, sources, expected = _parts(flags)
    return module, from_weights(weights, sources, expected)


def check_glide(shapes: Mapping[str, tuple[int, ...]], flags: Mapping[str, Any]) -> tuple[TextUNet, dict]:
    """As `glide`, of the weights' shapes alone: the variables are `jax.ShapeDtypeStruct`s."""
    module, sources, expected = _parts(flags)
    return module, from_shapes(shapes, sources, expected)


def glide_module(flags: Flags) -> TextUNet:
    """The network of these flags, in float32."""
    return TextUNet(**flags.network)


def _parts(flags: Mapping[str, Any]) -> tuple[TextUNet, dict[Path, Source], Any]:
    """The module, where its variables come from, and their shapes."""
    parsed = glide_flags.parse(flags)
    module = glide_module(parsed)
    captions = {
        name: jax.ShapeDtypeStruct((1, module.text_context), kind)
        for name, kind in (("tokens", jnp.int32), ("mask", jnp.bool_))
    }
    expected = expected_shapes(module, parsed.in_channels, **captions)
    paths = paths_of(expected)
    sources = backbone_sources([path for path in paths if path[:2] != _TEXT], UNET_END)
    return module, sources | {path: _text_source(path, module) for path in paths if path[:2] == _TEXT}, expected


def _text_source(path: Path, module: TextUNet) -> Source:
    name, kind = path[2], "bias" if path[-1] == "bias" else "weight"
    convert = matrix if path[-1] == "kernel" else np.asarray
    if len(path) == 3:  # a table of positions
        return Source((name,), np.asarray)
    if name != "transformer":
        return Source((f"{_LAYERS[name]}.{kind}",), convert)
    layer = path[-2]
    keys = tuple(f"transformer.resblocks.{i}.{_BLOCK[layer]}.{kind}" for i in range(module.text_layers))
    if layer in _PARTS:
        return Source(keys, partial(_stacked_parts, part=_PARTS.index(layer), heads=module.text_heads))
    return Source(keys, lambda *arrays: np.stack([convert(array) for array in arrays]))


def _stacked_parts(*arrays: np.ndarray, part: int, heads: int) -> np.ndarray:
    """Of layers that make queries, keys and values, head by head: one of the three, [layers, (in,) out].

    Args:
      *arrays: of each layer, [heads * 3 * channels of a head] or the same with a second axis, [in].
      part: 0, 1 or 2.
      heads: of the attention.
    """
    split = [array.reshape(heads, 3, -1, *array.shape[1:])[:, part] for array in arrays]
    return np.stack([array.reshape(-1, *array.shape[2:]).T for array in split])
