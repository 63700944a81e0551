"""The one interface of every generative model, and of the networks that guide them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from glowdiff.spec import DataSpec

PyTree = Any
Variables = Mapping[str, PyTree]  # {"params": trained, decayed and averaged, other collections: changed by Aux.updates}
Batch = Mapping[str, Any]  # {"image": uint8 [B,H,W,C], "cond": {...}}, and "noise" where a test fixes it
Cond = Mapping[str, jax.Array]  # label int32 [B], tokens int32 [B, L] and mask bool [B, L] of captions, ...
Latents = PyTree  # arrays with a leading axis [B]


TOKENS = {"tokens": jnp.int32, "mask": jnp.bool_}  # conditions [B, L] that hold captions


class Aux(NamedTuple):
    """What a loss reports beside itself."""

    metrics: dict[str, jax.Array]  # scalars
    updates: dict[str, PyTree]  # new values of collections other than params


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Guide:
    """A network that pulls samples towards what they should be: a classifier, CLIP."""

    variables: Variables
    scale: float | jax.Array  # of the gradient of the log-probability
    # (variables, x_t [B, ...], t [B], cond) -> log p(cond | x_t) [B]; see `Method.log_prob`
    log_prob: Callable[..., jax.Array] = field(metadata={"static": True})
    labels: int = field(default=0, metadata={"static": True})  # classes that it knows
    embed: Callable[..., Any] | None = field(default=None, metadata={"static": True})  # see `Method.embed`


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SampleOptions:
    """Options of `Method.sample`, `Method.film` and `Method.encode`.

    Numbers are traced: another value compiles nothing. What is marked static decides what is compiled, and so does
    whether an optional number is None. A method takes the options that `Method.options` names and ignores the others.
    """

    temperature: float | jax.Array = 1.0  # standard deviation of the latents
    eta: float | jax.Array = 0.0  # share of the ancestral sampler's noise that DDIM adds
    guidance_scale: float | jax.Array | None = None  # s of u + s (c - u), classifier-free; None: only c is computed
    guidance_interval: tuple[float | jax.Array, float | jax.Array] = (0.0, 1.0)  # share of the timesteps it acts in
    guidance_rescale: float | jax.Array = 0.0  # phi of Lin et al. (2023): how much of the contrast is taken back
    percentile: float | jax.Array = 99.5  # of |x_0|, where threshold is dynamic
    guides: tuple[Guide, ...] = ()
    sampler: str = field(default="ancestral", metadata={"static": True})  # a name of glowdiff.samplers.SAMPLERS
    steps: str = field(default="250", metadata={"static": True})  # or sections "10,10,5", "ddim50", "fast27"
    spacing: str = field(default="even", metadata={"static": True})  # even | trailing | log_snr | karras
    threshold: str = field(default="clip", metadata={"static": True})  # of x_0: clip | dynamic | none
    frames: int = field(default=8, metadata={"static": True})  # of a film
    strength: float = field(default=1.0, metadata={"static": True})  # share of the noise that cond["source"] is given


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
    bits_per_dim: Callable[..., jax.Array] | None = None  # (variables, key, batch, options=...) -> [B]
    diagnostics: Callable[[Variables], dict[str, jax.Array]] | None = None  # scalars worth watching, at evaluations
    labels: int = 0  # classes that `sample` needs a label of; 0: it takes none
    null_label: bool = False  # whether label `labels`, one past the last, stands for none of them
    # (variables, latents, cond) -> what `sample` would round, float [B, H, W, C]: a pixel of value v is near v
    unrounded: Callable[[Variables, Latents, Cond], jax.Array] | None = None
    coarsen: int = 1  # neighbouring pixel values that the model takes for one, named by the lowest of them
    options: tuple[str, ...] = ("temperature",)  # what of `SampleOptions` it takes: keys of `sampling`, and "guides"
    inverse: Mapping[str, Any] = MappingProxyType({"temperature": 1.0})  # options under which `sample` undoes `encode`
    # As `sample`, -> uint8 [B, options.frames, H, W, C]: what the samples were going to be, along the way
    film: Callable[[Variables, jax.Array, Latents, Cond, SampleOptions], jax.Array] | None = None
    # What `sample` needs, made of real images, their labels among it; None: nothing but labels
    conditions: Callable[[Batch], Cond] | None = None
    # (variables, key, batch) -> named figures of each image [B], cheap enough for evaluations in training
    scores: Callable[[Variables, jax.Array, Batch], dict[str, jax.Array]] | None = None
    log_prob: Callable[..., jax.Array] | None = None  # of guides: (variables, x_t, t [B], cond) -> [B]
    # Of guides: (variables, cond) -> cond, with what depends on it alone computed, once per call and not at every step
    embed: Callable[[Variables, Cond], Cond] | None = None
    context: int = 0  # tokens of a caption that it reads; 0: it reads none
    inputs: tuple[tuple[str, int], ...] = ()  # of denoisers: what the first convolution sees, with channels, in order


def example_keys(key: jax.Array, n: int, start: int | jax.Array = 0) -> jax.Array:
    """One key per example: `fold_in(key, i)` for n values of i from `start` on; an array of n keys stays as it is."""
    if key.ndim:
        return key
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(start + jnp.arange(n))


def folded(keys: jax.Array, stream: int) -> jax.Array:
    """Each of the keys [B] folded with a number: another stream of randomness for each example."""
    return jax.vmap(lambda key: jax.random.fold_in(key, stream))(keys)


def image_keys(key: jax.Array, batch: Batch) -> jax.Array:
    """One key per image of an evaluation, [B]: `fold_in(key, i)` for its index i in the test set, or in the batch.

    So an image's noise does not depend on the batch that it comes in.
    """
    index = batch["index"] if "index" in batch else jnp.arange(batch["image"].shape[0])
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(index)


def batch_shapes(spec: DataSpec, size: int, context: int = 0) -> Any:
    """Shapes and dtypes of a batch of `size` images of a data set, with captions of `context` tokens if there are."""
    cond = {"label": jax.ShapeDtypeStruct((size,), jnp.int32)} if spec.classes else {}
    if context:
        cond |= {name: jax.ShapeDtypeStruct((size, context), kind) for name, kind in TOKENS.items()}
    return {"image": jax.ShapeDtypeStruct((size, *spec.shape), jnp.uint8), "cond": cond}
