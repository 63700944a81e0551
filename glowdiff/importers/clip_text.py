"""CLIP's text transformers, as Stable Diffusion is told by them: transformers' and OpenCLIP's names of the weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glowdiff.errors import require
from glowdiff.importers.flags import require_positive, values
from glowdiff.importers.mapping import (
    Arrays,
    Path,
    Source,
    WeightsError,
    convert,
    float32,
    leaves,
    matrix,
    stacked,
    third,
)
from glowdiff.networks.captions import CLIPText

_TRANSFORMERS: dict[str, Any] = {
    "vocab_size": 49_408, "hidden_size": 512, "intermediate_size": 0, "num_hidden_layers": 12,
    "num_attention_heads": 8, "max_position_embeddings": 77, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
}  # fmt: skip
_OPENCLIP: dict[str, Any] = {
    "width": 1_024, "heads": 16, "layers": 24, "vocab_size": 49_408, "context_length": 77, "embed_dim": 1_024,
}  # fmt: skip
FLAGS = (*_TRANSFORMERS, *_OPENCLIP)
_HEAD = 64  # channels of the published ones' heads
# What files hold beside, which nothing here reads.
UNUSED = r"(.*\.)?(position_ids|logit_scale|text_projection(\.weight)?|attn_mask)"

_NAMES = {
    "transformers": {
        "tokens": "embeddings.token_embedding.weight", "positions": "embeddings.position_embedding.weight",
        "norm_out": "final_layer_norm", "norm_attention": "layer_norm1", "query": "self_attn.q_proj",
        "key": "self_attn.k_proj", "value": "self_attn.v_proj", "proj_out": "self_attn.out_proj",
        "norm_mlp": "layer_norm2", "mlp_in": "mlp.fc1", "mlp_out": "mlp.fc2",
    },
    "openclip": {
        "tokens": "token_embedding.weight", "positions": "positional_embedding", "norm_out": "ln_final",
        "norm_attention": "ln_1", "query": "attn.in_proj_", "key": "attn.in_proj_", "value": "attn.in_proj_",
        "proj_out": "attn.out_proj", "norm_mlp": "ln_2", "mlp_in": "mlp.c_fc", "mlp_out": "mlp.c_proj",
    },
}  # fmt: skip
_LAYERS = {"transformers": "encoder.layers", "openclip": "transformer.resblocks"}
# Of single files of Stable Diffusion 1 and 2; `text_model.` is missing from newer state dicts of transformers.
_PREFIX = re.compile(r"^(cond_stage_model\.(transformer|model)\.)?(text_model\.)?")
_THIRDS = ("query", "key", "value")  # one array, by OpenCLIP


def parse(flags: Mapping[str, Any], clip_skip: int = 1) -> CLIPText:
    """The `text` section of the `config.json` of transformers, or of the arguments of OpenCLIP's.

    Args:
      flags: either.
      clip_skip: as users count it: 1: all layers; 2: without the last one, and so on. OpenCLIP's are those of Stable
        Diffusion 2, which never reads the last one; folders of diffusers do not hold it.

    Raises:
      ConfigError: there is a flag that the original does not have, or they ask for what cannot be.
    """
    if "width" in flags:
        read = values({name: value for name, value in flags.items() if name != "model"}, _OPENCLIP)
        sizes = (read["vocab_size"], read["context_length"], read["width"], read["layers"] - 1, read["heads"], "gelu")
    else:
        read = values({name: value for name, value in flags.items() if name in _TRANSFORMERS}, _TRANSFORMERS)
        hidden, width = read["intermediate_size"], read["hidden_size"]
        require(
            hidden in (0, 4 * width) and read["layer_norm_eps"] == 1e-5,
            f"config.json of the text encoder has intermediate_size={hidden} and layer_norm_eps="
            f"{read['layer_norm_eps']}; only MLPs four times as wide as the rest ({width}) and norms with 1e-5 are.",
        )
        sizes = (
            read["vocab_size"], read["max_position_embeddings"], width, read["num_hidden_layers"],
            read["num_attention_heads"], read["hidden_act"],
        )  # fmt: skip
    require_positive(
        read, *(name for name, value in read.items() if type(value) is int and name != "intermediate_size")
    )
    return text_section(*sizes, clip_skip=clip_skip)


def text_section(
    vocab_size: int, context: int, width: int, layers: int, heads: int, activation: str, clip_skip: int = 1
) -> CLIPText:
    """The `text` section of an encoder; the activation tells OpenAI's, padded with the end token, from OpenCLIP's."""
    require(
        1 <= clip_skip <= layers,
        f"--clip_skip is {clip_skip}; it must be from 1 (all layers are read) to {layers} (the first one alone).",
    )
    section = CLIPText(
        "clip", vocab_size=vocab_size, context=context, width=width, layers=layers - clip_skip + 1, heads=heads,
        activation=activation, padding="end" if activation == "quick_gelu" else "zero",
    )  # fmt: skip
    section.check("The text encoder's text")
    return section


def recognised(
    shapes: Mapping[str, tuple[int, ...]], clip_skip: int = 1, heads: int | None = None, activation: str | None = None
) -> CLIPText:
    """The `text` section of an encoder's weights.

    Args:
      shapes: of the weights, by name.
      clip_skip: see `parse`.
      heads: which shapes do not tell; None: of 64 channels, as published.
      activation: neither; None: as published with these names.

    Raises:
      WeightsError: they are of no such encoder.
    """
    layout, shapes = _layout(shapes), {_bare(name): shape for name, shape in shapes.items()}
    names, layers = _NAMES[layout], 0
    while f"{_LAYERS[layout]}.{layers}.{names['norm_mlp']}.weight" in shapes:
        layers += 1
    try:
        (vocab_size, width), (context, _) = shapes[names["tokens"]], shapes[names["positions"]]
    except (KeyError, ValueError) as error:
        raise WeightsError(f"These are not the weights of CLIP's text encoder: {error}.") from error
    openclip = layout == "openclip"
    # Transformers' names are OpenAI's network's (quick GELU), or in folders of Stable Diffusion 2 OpenCLIP's.
    published = "gelu" if openclip or width == _OPENCLIP["width"] else "quick_gelu"
    sizes = (vocab_size, context, width, layers - openclip, heads or max(width // _HEAD, 1))
    return text_section(*sizes, activation or published, clip_skip)


def variables(section: CLIPText, weights: Arrays, leaf: Callable[[np.ndarray], Any] = float32) -> dict[str, Any]:
    """The variables of an encoder, of weights in either layout; layers that it leaves out may be there.

    Args:
      section: what it is.
      weights: arrays by name.
      leaf: what to keep of each array.

    Raises:
      WeightsError: a weight is missing, not expected, or of another shape.
    """
    layout = _layout(weights)
    names = {_bare(name): name for name in weights}
    module = section.encoder(None, remat=False, dtype=jnp.float32, param_dtype=jnp.float32)
    tokens = jnp.zeros((1, section.context), jnp.int32)
    shapes = dict(jax.eval_shape(module.init, jax.random.key(0), tokens, tokens == 0))
    expected = leaves(shapes)
    sources = {path: _source(path[1:], layout, section.layers) for path in expected}
    found = {
        path: source._replace(keys=tuple(names.get(key, key) for key in source.keys))
        for path, source in sources.items()
    }
    beyond = re.compile(rf".*{re.escape(_LAYERS[layout])}\.(\d+)\..*")
    skipped = "|".join(
        re.escape(name) for name in weights if (match := beyond.fullmatch(name)) and int(match[1]) >= section.layers
    )
    arrays = convert(weights, found, expected, leaf, f"{UNUSED}|{skipped}")
    return jax.tree.unflatten(jax.tree.structure(shapes), [arrays[path] for path in expected])


def _layout(names: Any) -> str:
    return "openclip" if any("transformer.resblocks." in name for name in names) else "transformers"


def _bare(name: str) -> str:
    """The name without what files have in front of it."""
    return _PREFIX.sub("", name)


def _source(path: Path, layout: str, layers: int) -> Source:
    names = _NAMES[layout]
    if len(path) == 1:  # a table
        return Source((names[path[0]],))
    layer, leaf = path[-2], "bias" if path[-1] == "bias" else "weight"
    each = matrix if path[-1] == "kernel" else np.asarray
    if path[0] == "norm_out":
        return Source((f"{names[layer]}.{leaf}",))
    end = f"{names[layer]}.{leaf}"
    if layout == "openclip" and layer in _THIRDS:
        end, each = f"{names[layer]}{leaf}", third(_THIRDS.index(layer), each)
    return Source(tuple(f"{_LAYERS[layout]}.{n}.{end}" for n in range(layers)), stacked(each))
