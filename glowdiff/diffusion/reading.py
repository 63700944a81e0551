"""Captions of a denoiser, read by a text encoder that is not trained with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from glowdiff.errors import ConfigError, require
from glowdiff.method import Frozen, Variables, batch_shapes
from glowdiff.networks.captions import CLIPText

Cond = Mapping[str, jax.Array]


class Reader(NamedTuple):
    """What stands between captions and a denoiser."""

    read: Callable[
        [Variables, Cond], Cond
    ]  # (the denoiser's variables, cond) -> cond, what captions say in their place
    blank: Callable[[Cond], Cond]  # (cond) -> the same, but nothing is said: to initialise the denoiser


def reader(captions: Any, frozen: Mapping[str, Frozen]) -> Reader | None:
    """The frozen text encoder of a `text` section; None where the denoiser reads captions itself, or there are none.

    Raises:
      ConfigError: `model.text.workdir` holds another model, or one of other captions or widths.
    """
    if not isinstance(captions, CLIPText) or captions.trained:
        return None
    part, workdir = frozen["text"], captions.workdir
    encode = part.method.text
    if encode is None:
        raise ConfigError(f"model.text.workdir is {workdir}, which holds another model than a text encoder.")

    def read(variables: Variables, cond: Cond) -> Cond:
        if "tokens" not in cond:
            return cond
        said = encode(variables["frozen"]["text"], cond["tokens"], cond["mask"])
        return {**_without_captions(cond), **jax.lax.stop_gradient(said)}

    def said(cond: Cond) -> dict[str, jax.Array]:
        return encode(part.method.init(jax.random.key(0), {"cond": cond}), cond["tokens"], cond["mask"])

    def blank(cond: Cond) -> Cond:
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(said, cond))
        return {**_without_captions(cond), **zeros}

    shapes = batch_shapes(part.spec, 1, part.method.takes)["cond"]
    theirs = {
        "context": shapes["tokens"].shape[1], "vocab_size": part.method.takes[0].values,
        "width": jax.eval_shape(said, shapes)["text"].shape[-1],
    }  # fmt: skip
    for key, value in theirs.items():
        ours = getattr(captions, key)
        require(ours == value, f"model.text.{key} is {ours}, but that of the text encoder in {workdir} is {value}.")
    return Reader(read, blank)


def _without_captions(cond: Cond) -> dict[str, jax.Array]:
    return {name: value for name, value in cond.items() if name not in ("tokens", "mask")}
