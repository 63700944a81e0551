"""Glow's published TensorFlow checkpoints, variable by variable."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glowdiff.flows.build import glow_module
from glowdiff.flows.glow import Glow
from glowdiff.importers.flags import parse
from glowdiff.importers.mapping import Path, Source, WeightsError, check_shapes, convert


def glow(weights: Mapping[str, np.ndarray], flags: Mapping[str, Any]) -> tuple[Glow, dict]:
    """The original's weights as our module and variables.

    Args:
      weights: arrays by the original's variable names, without scopes in front of `model/`.
      flags: the original's command-line flags, see `glowdiff.importers.flags.Flags`.

    Returns:
      The module and `{"params", "constants"}` for `module.apply(variables, x, noise, cond, method="encode")` and
      `method="decode"`.

    Raises:
      ConfigError: the flags cannot be.
      WeightsError: a weight is missing, not expected, or of another shape than the flags ask for.
    """
    parsed = parse(flags)
    spec = parsed.spec()
    # Whoever applies the module by hand compiles more than once: loops are quick to compile.
    module = glow_module(dataclasses.replace(parsed.model(), unroll=1), spec, "float32")
    sources = _sources(module)
    shuffles = [
        f"model/{level}/{step}/shuffle/indices_inverse"
        for level in range(module.levels)
        for step in range(module.depth)
    ]
    variables = convert(weights, sources, ignored=[*shuffles, *_CLASSIFIER.values()])
    if module.classes:
        variables["params"] |= _classifier(weights, module)
    image = jax.ShapeDtypeStruct((1, *spec.shape), jnp.uint8)
    noise = jax.ShapeDtypeStruct(image.shape, jnp.float32)
    cond = {"label": jax.ShapeDtypeStruct((1,), jnp.int32)}
    expected = jax.eval_shape(
        lambda *args: module.init(jax.random.key(0), *args, method=module.encode), image, noise, cond
    )
    check_shapes(variables, expected, sources)
    return module, variables


_CLASSIFIER = {name: f"model/classifier/{name}" for name in ("W", "b", "logs")}


def _classifier(weights: Mapping[str, np.ndarray], module: Glow) -> dict:
    """The head that predicts the class from the top latent; zeros, as initialised, where the weights leave it out."""
    channels = module.latent_shapes((2**module.levels, 2**module.levels, 3))[-1][-1]
    found = {}
    for name, shape in (("W", (channels, module.classes)), ("b", (module.classes,)), ("logs", (module.classes,))):
        key = _CLASSIFIER[name]
        array = np.asarray(weights.get(key, np.zeros(shape)), np.float32)
        if array.size != math.prod(shape):
            raise WeightsError(f"{key}: {array.shape}, where the flags ask for {shape}.")
        found[name] = jnp.asarray(array.reshape(shape))
    return {
        "classifier": {"kernel": found["W"]},
        "classifier_output": {"bias": found["b"], "logs": found["logs"]},
    }


def _sources(module: Glow) -> dict[Path, Source]:
    sources: dict[Path, Source] = {}
    for level in range(module.levels):
        steps = [f"model/{level}/{step}/" for step in range(module.depth)]

        def stacked(*path: str, key: str, convert: Any, level: int = level, steps: list[str] = steps) -> None:
            where = (path[0], f"flows_{level}", *path[1:])
            keys = tuple(step + key for step in steps)
            sources[where] = Source(keys, lambda *arrays: np.stack([convert(array) for array in arrays]))

        def actnorm(*path: str, key: str, stacked: Any = stacked) -> None:
            stacked("params", *path, "bias", key=f"{key}actnorm_center/b", convert=np.ravel)
            stacked("params", *path, "logs", key=f"{key}actnorm_scale/logs", convert=np.ravel)

        actnorm("steps", "actnorm", key="")
        net = ("steps", "net")
        stacked("params", *net, "conv_in", "kernel", key="f1/l_1/W", convert=_inside)
        stacked("params", *net, "conv_in", "edge", "kernel", key="f1/l_1/W", convert=_edge)
        actnorm(*net, "actnorm_in", key="f1/l_1/")
        stacked("params", *net, "kernel_mid", key="f1/l_2/W", convert=lambda w: w[0, 0])
        actnorm(*net, "actnorm_mid", key="f1/l_2/")
        stacked("params", *net, "conv_out", "conv", "kernel", key="f1/l_last/W", convert=_inside)
        stacked("params", *net, "conv_out", "conv", "edge", "kernel", key="f1/l_last/W", convert=_edge)
        stacked("params", *net, "conv_out", "output", "bias", key="f1/l_last/b", convert=np.ravel)
        stacked("params", *net, "conv_out", "output", "logs", key="f1/l_last/logs", convert=np.ravel)
        if module.permutation == "conv":
            stacked("params", "permutations", "kernel", key="invconv/W", convert=np.asarray)
        if module.permutation == "shuffle":
            stacked("constants", "permutations", "indices", key="shuffle/indices", convert=np.int32)
        if level < module.levels - 1:
            split, key = ("params", f"splits_{level}", "conv"), f"model/pool{level}/conv/"
            sources[*split, "conv", "kernel"] = Source((f"{key}W",), _inside)
            sources[*split, "conv", "edge", "kernel"] = Source((f"{key}W",), _edge)
            sources[*split, "output", "bias"] = Source((f"{key}b",), np.ravel)
            sources[*split, "output", "logs"] = Source((f"{key}logs",), np.ravel)
    if module.learn_top:
        # The original convolves zeros with the rest of this kernel, which therefore says nothing.
        sources["params", "top", "edge", "kernel"] = Source(("model/prior/p/W",), _edge)
        sources["params", "top", "output", "bias"] = Source(("model/prior/p/b",), np.ravel)
        sources["params", "top", "output", "logs"] = Source(("model/prior/p/logs",), np.ravel)
    if module.classes:
        sources["params", "top", "label_kernel"] = Source(("model/prior/y_emb/W",), np.asarray)
        sources["params", "top", "label", "bias"] = Source(("model/prior/y_emb/b",), np.ravel)
        sources["params", "top", "label", "logs"] = Source(("model/prior/y_emb/logs",), np.ravel)
    return sources


def _inside(kernel: np.ndarray) -> np.ndarray:
    """The part of a [3, 3, C + 1, F] kernel that sees the image."""
    return kernel[:, :, :-1]


def _edge(kernel: np.ndarray) -> np.ndarray:
    """The part of a [3, 3, C + 1, F] kernel that sees the padding ring."""
    return kernel[:, :, -1:]
