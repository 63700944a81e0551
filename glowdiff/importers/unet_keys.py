"""The layers of ADM's networks, which are GLIDE's too, by the originals' names (PyTorch)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glowdiff.importers.mapping import Path, Source, check_shapes, convert
from glowdiff.networks.backbone import Backbone

# Our layers and the original's, in a residual block, at a network's start and in its middle.
_RESIDUAL = {
    "norm_in": "in_layers.0", "conv_in": "in_layers.2", "embed": "emb_layers.1", "norm_out": "out_layers.0",
    "conv_out": "out_layers.3", "skip": "skip_connection",
}  # fmt: skip
UNET_END = {"norm_out": "out.0", "conv_out": "out.2"}
_START = {
    "time_embed.dense_0": "time_embed.0",
    "time_embed.dense_1": "time_embed.2",
    "input_blocks_0": "input_blocks.0.0",
}
_MIDDLE = {"middle_res_0": "middle_block.0", "middle_attention": "middle_block.1", "middle_res_1": "middle_block.2"}


def expected_shapes(module: Backbone, channels: int, **cond: jax.ShapeDtypeStruct) -> Any:
    """The module's variables for images of so many channels, as `jax.ShapeDtypeStruct`s.

    Args:
      module: any network of ours that is of ADM's kind.
      channels: of the images.
      **cond: conditions, besides labels and images, that it asks for; each of one example.
    """
    image = jax.ShapeDtypeStruct((1, module.image_size, module.image_size, channels), jnp.float32)
    t = jax.ShapeDtypeStruct((1,), jnp.float32)
    mask = jax.ShapeDtypeStruct((*image.shape[:-1], 1), jnp.float32)
    cond |= {"label": jax.ShapeDtypeStruct((1,), jnp.int32), "low_res": image, "known": image, "known_mask": mask}
    return jax.eval_shape(lambda *args: module.init(jax.random.key(0), *args), image, t, cond)


def from_weights(weights: Mapping[str, np.ndarray], sources: Mapping[Path, Source], expected: Any) -> dict:
    """Our variables, in float32; raises `WeightsError` if the weights are not those that are expected."""
    return _checked(weights, sources, expected, lambda array: jnp.asarray(array, jnp.float32))


def from_shapes(shapes: Mapping[str, tuple[int, ...]], sources: Mapping[Path, Source], expected: Any) -> dict:
    """As `from_weights`, of the weights' shapes alone; the variables are `jax.ShapeDtypeStruct`s."""
    weights = {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}
    return _checked(weights, sources, expected, lambda array: jax.ShapeDtypeStruct(array.shape, jnp.float32))


def paths_of(expected: Any) -> list[Path]:
    """The paths of our variables."""
    return [tuple(str(entry.key) for entry in path) for path, _ in jax.tree_util.tree_leaves_with_path(expected)]


def backbone_sources(paths: list[Path], ends: Mapping[str, str]) -> dict[Path, Source]:
    """Where our layers come from.

    Args:
      paths: of our arrays, all in layers of the kinds in `glowdiff.networks.blocks`.
      ends: our layers behind the last block and the original's.
    """
    layers = {path[:-1] for path in paths}
    sources: dict[Path, Source] = {}
    for path in paths:
        key = _key(".".join(path[1:-1]), ends, layers)
        if path[-1] == "kernel":
            sources[path] = Source((f"{key}.weight",), _conv if _is_conv(path) else matrix)
        else:
            sources[path] = Source((f"{key}.{'bias' if path[-1] == 'bias' else 'weight'}",), np.asarray)
    return sources


def matrix(kernel: np.ndarray) -> np.ndarray:
    """[out, in], or a convolution over one pixel, [out, in, 1] or [out, in, 1, 1] -> [in, out]."""
    if math.prod(kernel.shape[2:]) != 1:
        raise ValueError("not a matrix")
    return kernel.reshape(kernel.shape[:2]).T


def _checked(
    weights: Mapping[str, np.ndarray],
    sources: Mapping[Path, Source],
    expected: Any,
    leaf: Callable[[np.ndarray], Any],
) -> dict:
    variables = convert(weights, sources, leaf=leaf)
    check_shapes(variables, expected, sources)
    return variables


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
