"""The one interface of every generative model, and of the networks that guide them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from glowdiff.data.spec import DataSpec

PyTree = Any
Variables = Mapping[str, PyTree]  # {"params": trained, decayed and averaged, other collections: changed by Aux.updates}
Batch = Mapping[str, Any]  # {"image": uint8 [B,H,W,C], "cond": {...}}, and "noise" where a test fixes it
Cond = Mapping[str, jax.Array]  # label int32 [B], ...
Latents = PyTree  # arrays with a leading axis [B]


class Aux(NamedTuple):
    """What a loss reports beside itself."""

    metrics: dict[str, jax.Array]  # scalars
    updates: dict[str, PyTree]  # new values of collections other than params


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SampleOptions:
    """Options of `Method.sample` and `Method.encode`; all of them are traced, so that no value compiles anything."""

    temperature: float | jax.Array = 1.0  # standard deviation of the latents


class Method(NamedTuple):
    """Pure functions of arrays and a key; nothing holds state.

    Example i of `latents` and `sample` depends on `fold_in(key, i)` alone, so neither batch size nor the number of
    devices changes a sample. Where a batch is not the first one, its keys are given instead: `key` may be an array [n].
    """

    init: Callable[[jax.Array, Batch], Variables]  # (key, batch); data-dependent where the model is
    loss: Callable[[Variables, jax.Array, Batch], tuple[jax.Array, Aux]]  # (variables, key, batch)
    latents: Callable[[jax.Array, int], Latents] | None = None  # (key, n) -> latents of n examples
    # (variables, key, latents, cond, options) -> uint8 [B, H, W, C]
    sample: Callable[[Variables, jax.Array, Latents, Cond, SampleOptions], jax.Array] | None = None
    encode: Callable[[Variables, jax.Array, Batch, SampleOptions], Latents] | None = None  # -> latents
    bits_per_dim: Callable[[Variables, jax.Array, Batch], jax.Array] | None = None  # (variables, key, batch) -> [B]
    diagnostics: Callable[[Variables], dict[str, jax.Array]] | None = None  # scalars worth watching, at evaluations
    labels: int = 0  # classes that `sample` needs a label of; 0: it takes none
    # (variables, latents, cond) -> what `sample` would round, float [B, H, W, C]: a pixel of value v is near v
    unrounded: Callable[[Variables, Latents, Cond], jax.Array] | None = None
    coarsen: int = 1  # neighbouring pixel values that the model takes for one, named by the lowest of them


def example_keys(key: jax.Array, n: int, start: int | jax.Array = 0) -> jax.Array:
    """One key per example: `fold_in(key, i)` for n values of i from `start` on; an array of n keys stays as it is."""
    if key.ndim:
        return key
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(start + jnp.arange(n))


def batch_shapes(spec: DataSpec, size: int) -> Any:
    """Shapes and dtypes of a batch of `size` images of a data set."""
    cond = {"label": jax.ShapeDtypeStruct((size,), jnp.int32)} if spec.classes else {}
    return {"image": jax.ShapeDtypeStruct((size, *spec.shape), jnp.uint8), "cond": cond}
