"""The published noise-aware CLIP of GLIDE (PyTorch), key by key: two files, one of each tower."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glowdiff.errors import require
from glowdiff.importers.flags import typed
from glowdiff.importers.mapping import Path, Source, WeightsError, check_shapes, convert
from glowdiff.networks.clip import CLIP, MAX_SCALE

# Our layers and the original's, in a block; keys have no bias.
_BLOCK = {
    "norm_attention": "f_attn.ln", "query": "f_attn.f_q", "key": "f_attn.f_k", "value": "f_attn.f_v",
    "proj_out": "f_attn.f_c", "norm_mlp": "f_mlp.ln", "mlp_in": "f_mlp.f_1", "mlp_out": "f_mlp.f_2",
}  # fmt: skip
_REST = {
    "head.norm": "output.ln", "head.out": "output.f", "norm_in": "input.ln", "tokens": "input.w_voc",
    "positions": "input.w_pos", "times": "input.w_t", "patches": "input.patch_proj",
}  # fmt: skip
_LEAVES = {"kernel": "w", "bias": "b", "scale": "g"}


@dataclass(frozen=True)
class Flags:
    """Arguments of the original's constructor, by its names; the defaults are those of the release."""

    image_size: int = 64
    patch_size: int = 4
    n_vocab: int = 65_536
    max_text_len: int = 77
    n_embd: int = 512
    n_head_text: int = 8
    n_xf_blocks_text: int = 12
    n_head_state_text: int = 64
    n_head_image: int = 12
    n_xf_blocks_image: int = 12
    n_head_state_image: int = 64
    n_timesteps: int = 1000
    logit_scale: float = MAX_SCALE

    def network(self) -> dict[str, Any]:
        """Arguments of our module."""
        return {
            "image_size": self.image_size,
            "patch": self.patch_size,
            "image_width": self.n_head_image * self.n_head_state_image,
            "image_layers": self.n_xf_blocks_image,
            "image_heads": self.n_head_image,
            "timesteps": self.n_timesteps,
            "text_context": self.max_text_len,
            "vocab_size": self.n_vocab,
            "text_width": self.n_head_text * self.n_head_state_text,
            "text_layers": self.n_xf_blocks_text,
            "text_heads": self.n_head_text,
            "embedding": self.n_embd,
        }


def parse_flags(values: Mapping[str, Any]) -> Flags:
    """Flags of a dictionary; numbers may be strings, and what is left out is the release's.

    Raises:
      ConfigError: a flag that the original does not have, of another type, or with an impossible value.
    """
    known = {field.name: field.default for field in fields(Flags)}
    for name in values:
        close = difflib.get_close_matches(name, known, 1)
        hint = f"Did you mean {close[0]}?" if close else f"Known: {', '.join(known)}."
        require(name in known, f"--flags has {name}, which the original's CLIP does not know. {hint}")
    flags = Flags(**{name: typed(name, value, type(known[name])) for name, value in values.items()})
    for name, value in asdict(flags).items():
        require(value > 0, f"--flags has {name}={value}; it must be positive.")
    require(
        flags.image_size % flags.patch_size == 0,
        f"--flags has patch_size={flags.patch_size}, which does not divide image_size={flags.image_size}.",
    )
    require(
        flags.logit_scale <= MAX_SCALE,
        f"--flags has logit_scale={flags.logit_scale}; it is at most {MAX_SCALE:g}, as in CLIP.",
    )
    return flags


def clip(
    text_weights: Mapping[str, np.ndarray],
    image_weights: Mapping[str, np.ndarray],
    flags: Mapping[str, Any] | None = None,
) -> tuple[CLIP, dict]:
    """The two towers' weights as our module and variables.

    Args:
      text_weights: arrays by the keys of the original's state dict, of `clip/text-enc`,
      image_weights: and of `clip/image-enc`.
      flags: arguments of the original's constructor, see `Flags`; those that are left out are the release's.

    Returns:
      The module and `{"params"}`, for `module.apply(variables, x, t, method="image")` and
      `module.apply(variables, tokens, mask, method="text")`.

    Raises:
      ConfigError: the flags cannot be.
      WeightsError: a weight is missing, not expected, or of another shape than the flags ask for.
    """
    return _converted(text_weights, image_weights, flags or {}, lambda array: jnp.asarray(array, jnp.float32))


def check_clip(
    text_shapes: Mapping[str, tuple[int, ...]],
    image_shapes: Mapping[str, tuple[int, ...]],
    flags: Mapping[str, Any] | None = None,
) -> tuple[CLIP, dict]:
    """As `clip`, of the weights' shapes alone and without their memory: the variables are `jax.ShapeDtypeStruct`s."""
    text, image = (
        {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}
        for shapes in (text_shapes, image_shapes)
    )
    return _converted(text, image, flags or {}, lambda array: jax.ShapeDtypeStruct(array.shape, jnp.float32))


def _converted(
    text: Mapping[str, np.ndarray],
    image: Mapping[str, np.ndarray],
    values: Mapping[str, Any],
    leaf: Callable[[np.ndarray], Any],
) -> tuple[CLIP, dict]:
    flags = parse_flags(values)
    module = CLIP(**flags.network())
    expected = _expected(module)["params"]
    towers = {}
    for name, weights, layers in (
        ("text", text, flags.n_xf_blocks_text),
        ("image", image, flags.n_xf_blocks_image),
    ):
        wanted = expected[f"{name}_tower"]
        sources = _sources(wanted, layers)
        try:
            towers[f"{name}_tower"] = convert(weights, sources, leaf=leaf)
            check_shapes(towers[f"{name}_tower"], wanted, sources)
        except WeightsError as error:
            raise WeightsError(f"The {name} encoder: {error}") from error
    return module, {"params": {**towers, "log_scale": leaf(np.array(math.log(flags.logit_scale), np.float32))}}


def _expected(module: CLIP) -> Any:
    image = jax.ShapeDtypeStruct((1, module.image_size, module.image_size, 3), jnp.float32)
    tokens = jax.ShapeDtypeStruct((1, module.text_context), jnp.int32)
    t, mask = jax.ShapeDtypeStruct((1,), jnp.float32), jax.ShapeDtypeStruct(tokens.shape, jnp.bool_)
    return jax.eval_shape(partial(module.init, jax.random.key(0)), image, t, tokens, mask)


def _sources(tower: Any, layers: int) -> dict[Path, Source]:
    sources: dict[Path, Source] = {}
    for entries, _ in jax.tree_util.tree_leaves_with_path(tower):
        path = tuple(str(entry.key) for entry in entries)
        leaf = _LEAVES.get(path[-1])
        if path[0] == "transformer":  # transformer, blocks, layer, leaf: stacked
            keys = tuple(f"blocks.block_{n}.{_BLOCK[path[-2]]}.{leaf}" for n in range(layers))
            sources[path] = Source(keys, partial(_stacked, matrices=leaf == "w"))
        elif path == ("patches", "kernel"):
            sources[path] = Source((f"blocks.{_REST['patches']}",), _conv)
        elif leaf is None:  # a table
            sources[path] = Source((f"blocks.{_REST[path[0]]}",), np.asarray)
        else:
            key = f"blocks.{_REST['.'.join(path[:-1])]}.{leaf}"
            sources[path] = Source((key,), np.transpose if leaf == "w" else np.asarray)
    return sources


def _stacked(*arrays: np.ndarray, matrices: bool) -> np.ndarray:
    """The layers' arrays in one, [layers, ...]; matrices [out, in] -> [in, out]."""
    stack = np.stack(arrays)
    return stack.transpose(0, 2, 1) if matrices else stack


def _conv(kernel: np.ndarray) -> np.ndarray:
    """[out, in, height, width] -> [height, width, in, out]."""
    return kernel.transpose(2, 3, 1, 0)
