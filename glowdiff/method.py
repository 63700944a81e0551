"""The one interface of every generative model, and of the networks that guide them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from glowdiff.config.options import SampleOptions
from glowdiff.spec import DataSpec

PyTree = Any
# {"params": trained, decayed and averaged, "frozen": of other models that serve this one, the rest: see `Aux.updates`}
Variables = Mapping[str, PyTree]
# {"image": uint8 [B,H,W,C], "cond": {...}}, "latents" instead of images where they were prepared (`Codec.posterior`),
Batch = Mapping[str, Any]  # and "noise" where a test fixes it
Cond = Mapping[str, jax.Array]  # conditions by name, arrays [B, ...]
Latents = PyTree  # arrays with a leading axis [B]


class Aux(NamedTuple):
    """What a loss reports beside itself."""

    metrics: dict[str, jax.Array]  # scalars
    updates: dict[str, PyTree]  # new values of collections other than params


class Condition(NamedTuple):
    """One thing that a model is told beside noise or image; a new condition is a new row, and what reads it.

    From its row follow the shapes of batches, the checks of what a caller gives, what is withheld in training and
    guided away from, the pictures in training, which stage of a cascade makes it, and how fine-tunes widen.
    """

    name: str
    shape: tuple[int, ...]  # of one example, without the batch axis
    dtype: Any
    values: int = 0  # of integers: 0 ... values - 1 are known; 0: any
    none: int | None = None  # the value of "not told", drawn apart by classifier-free guidance; None: always told
    withheld: float = 0.0  # the share of the examples in training that are not told
    of_data: bool = False  # data sets know it of their images: batches hold it
    # (batch, keys [B]) -> [B, *shape], made of real images where batches do not hold it; may be fractions of integers
    of_images: Callable[[Batch, jax.Array], jax.Array] | None = None
    needed: bool = False  # no sample without it; of labels: one is drawn where none is given
    image: bool = False  # integers on the levels of the data, scaled as the images themselves are
    coded: bool = False  # of images: encoded as those that the model learns, where it works in latents
    derived: bool = False  # made of other conditions; nobody gives it
    channels: int = 0  # that the first convolution sees of it beside x; fine-tunes widen by them
    instead: str = (
        ""  # the row whose place it takes in what classifier-free guidance leads away from, where it is given
    )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Guide:
    """A network that pulls samples towards what they should be: a classifier, CLIP."""

    variables: Variables
    scale: float | jax.Array  # of the gradient of the log-probability
    # (variables, x_t [B, ...], t [B], cond) -> log p(cond | x_t) [B]; see `Guides.log_prob`
    log_prob: Callable[..., jax.Array] = field(metadata={"static": True})
    takes: tuple[Condition, ...] = field(default=(), metadata={"static": True})  # what it is told
    embed: Callable[..., Any] | None = field(default=None, metadata={"static": True})  # see `Guides.embed`


class Drawn(NamedTuple):
    """Samples, and whether they are any: NaN and infinity have no pixel, but are cast to one."""

    images: jax.Array  # uint8 [B, H, W, C]; of films [B, frames, H, W, C]
    finite: jax.Array  # bool [B]; of a cascade [B, stages]


class Draws(NamedTuple):
    """How samples are drawn.

    Example i of `latents` and `sample` depends on `fold_in(key, i)` alone, so neither batch size nor the number of
    devices changes a sample. Where a batch is not the first one, its keys are given instead: `key` may be an array [n].
    """

    latents: Callable[[jax.Array, int], Latents]  # (key, n) -> latents of n examples
    # (variables, key, latents, cond, options) -> `Drawn`; with `options.frames` films: what the samples were going to
    # be, along the way
    sample: Callable[[Variables, jax.Array, Latents, Cond, SampleOptions], Drawn]
    # (variables, key, batch, options) -> latents
    encode: Callable[[Variables, jax.Array, Batch, SampleOptions], Latents] | None = None
    options: tuple[str, ...] = ("temperature",)  # what of `SampleOptions` the samples depend on
    inverse: Mapping[str, Any] = MappingProxyType({"temperature": 1.0})  # options under which `sample` undoes `encode`
    # (variables, latents, cond) -> what `sample` would round, float [B, H, W, C]: a pixel of value v is near v
    unrounded: Callable[[Variables, Latents, Cond], jax.Array] | None = None
    coarsen: int = 1  # neighbouring pixel values that the model takes for one, named by the lowest of them
    above: str = ""  # the condition of images that the pictures in training show above what is made of them


class Codec(NamedTuple):
    """Between images, integers on the levels of their data, and what other models work in: pixels, or latents."""

    # (variables, key, images [B, H, W, C]) -> x_0; of keys [B] each image has its own, with None there is no chance
    encode: Callable[[Variables, jax.Array | None, jax.Array], jax.Array]
    decode: Callable[[Variables, jax.Array], Drawn]  # (variables, x_0) -> images, and which of them are any
    shape: tuple[int, int, int]  # of one x_0
    # (variables, images) -> what of latents can be kept on disk, [B, h, w, ...], and
    posterior: Callable[[Variables, jax.Array], jax.Array] | None = None
    # (variables, keys [B] or None, that) -> x_0
    draw: Callable[[Variables, jax.Array | None, jax.Array], jax.Array] | None = None

    @property
    def bounded(self) -> bool:
        """Whether x_0 lies in [-1, 1]: it is the image itself, and not latents."""
        return self.posterior is None


class Guides(NamedTuple):
    """How other models' samples are guided."""

    log_prob: Callable[..., jax.Array]  # (variables, x_t, t [B], cond) -> [B]
    # (variables, cond) -> cond, with what depends on it alone computed, once per call and not at every step
    embed: Callable[[Variables, Cond], Cond] | None = None


class Features(NamedTuple):
    """What a network sees in pictures, and reads in captions: float32, for measuring."""

    # From uint8 [B, H, W, 3] to what the network takes, by the name of the way; the first one is the usual
    prepare: Mapping[str, Callable[[jax.Array], jax.Array]]
    images: Callable[[Variables, jax.Array], dict[str, jax.Array]]  # (variables, prepared) -> features by name [B, ...]
    # (variables, tokens [B, L], which of them are real, bool [B, L]) -> likewise
    texts: Callable[[Variables, jax.Array, jax.Array], dict[str, jax.Array]] | None = None
    main: str = ""  # the feature in which distances are measured
    side: int = 0  # pixels of a side of what the network takes
    resizes: bool = True  # whether `prepare` takes pictures of any size; else they must have that side
    # (variables, images, images [B, H, W, 3] from -1 to 1) -> how different they look [B]: LPIPS
    distance: Callable[[Variables, jax.Array, jax.Array], jax.Array] | None = None


class Method(NamedTuple):
    """What training needs, and whatever else the model can do: pure functions of arrays and a key."""

    init: Callable[[jax.Array, Batch], Variables]  # (key, batch); data-dependent where the model is
    loss: Callable[[Variables, jax.Array, Batch], tuple[jax.Array, Aux]]  # (variables, key, batch)
    # (variables, key, batch) -> named figures of each image [B], cheap enough for evaluations in training
    scores: Callable[[Variables, jax.Array, Batch], dict[str, jax.Array]] | None = None
    # (variables, key, batch, options=...) -> [B]: exact, or an upper bound over the steps of the options
    bits_per_dim: Callable[..., jax.Array] | None = None
    takes: tuple[Condition, ...] = ()  # what it is told
    draws: Draws | None = None
    guides: Guides | None = None
    features: Features | None = None
    # (variables, tokens [B, L], mask [B, L]) -> what captions say to denoisers: `text` [B, T, E]
    text: Callable[[Variables, jax.Array, jax.Array], dict[str, jax.Array]] | None = None
    codec: Codec | None = None  # an autoencoder's own, or the one in whose latents a model works
    diagnostics: Callable[[Variables], dict[str, jax.Array]] | None = None  # scalars worth watching, at evaluations


class Frozen(NamedTuple):
    """A model that serves another one as it is; its variables are `variables["frozen"][name]` of that one."""

    method: Method
    spec: DataSpec  # of what it was trained on


# ---- Conditions.


def label_row(spec: DataSpec, *, withheld: float = 0.0) -> Condition:
    """The class of an image; where some are withheld in training, one label more stands for none."""
    none = len(spec.classes) if withheld else None
    return Condition("label", (), jnp.int32, len(spec.classes), none, withheld, of_data=True)


def caption_rows(context: int, vocabulary: int, *, withheld: float = 0.0) -> tuple[Condition, ...]:
    """A caption: its tokens, and a mask of which are its own; with a mask of zeros it says nothing.

    Where some are withheld in training, guidance leads away from no caption, or from another one that is given:
    `negative_tokens` and `negative_mask`.

    Args:
      context: tokens that are read of it.
      vocabulary: tokens that there are.
      withheld: the share of captions that are withheld in training.
    """
    tokens = Condition("tokens", (context,), jnp.int32, vocabulary, of_data=True)
    mask = Condition("mask", (context,), jnp.bool_, 2, 0, withheld, of_data=True)
    caption = (tokens, mask)
    if not withheld:
        return caption
    return *caption, *(Condition(f"negative_{each.name}", *each[1:4], instead=each.name) for each in caption)


def row(takes: Iterable[Condition], name: str) -> Condition | None:
    """The row of a condition, if it is among those that are taken."""
    return next((each for each in takes if each.name == name), None)


def classes(takes: Iterable[Condition]) -> int:
    """Labels that are known, 0 where there is no label."""
    label = row(takes, "label")
    return label.values if label else 0


def context(takes: Iterable[Condition]) -> int:
    """Tokens that are read of a caption, 0 where no caption is read."""
    tokens = row(takes, "tokens")
    return tokens.shape[0] if tokens else 0


def made_of_images(takes: Iterable[Condition], batch: Batch, keys: jax.Array) -> dict[str, jax.Array]:
    """The conditions of a batch [B]: what it holds, and what is made of its images.

    Args:
      takes: the rows.
      batch: real images.
      keys: [B], of what is drawn at random.
    """
    cond = {}
    for each in takes:
        if each.name in batch["cond"]:
            cond[each.name] = batch["cond"][each.name]
        elif each.of_images is not None:
            cond[each.name] = each.of_images(batch, keys)
    return cond


def conditions_of(takes: Iterable[Condition], batch: Batch) -> dict[str, jax.Array]:
    """What samples are told beside noise, made of real images, as a caller would give it."""
    rows = {each.name: each for each in takes}
    made = made_of_images(rows.values(), batch, image_keys(jax.random.key(0), batch))
    return {name: _as_given(jnp.asarray(array), rows[name].dtype) for name, array in made.items()}


def _as_given(array: jax.Array, dtype: Any) -> jax.Array:
    integers = jnp.issubdtype(dtype, jnp.integer) and jnp.issubdtype(array.dtype, jnp.floating)
    return (jnp.round(array) if integers else array).astype(dtype)


# ---- Keys and shapes.


def size_of(batch: Batch) -> int:
    """Images of a batch."""
    return jax.tree.leaves(batch)[0].shape[0]


def finite_rows(x: jax.Array) -> jax.Array:
    """Which of B examples [B, ...] hold neither NaN nor infinity, bool [B]."""
    return jnp.isfinite(x).all(tuple(range(1, x.ndim)))


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


def batch_shapes(spec: DataSpec, size: int, takes: Iterable[Condition] = ()) -> Any:
    """Shapes and dtypes of a batch of `size` images of a data set, with what it knows of the rows that are taken."""
    rows = [each for each in takes if each.of_data]
    if spec.classes and row(rows, "label") is None:  # data sets tell their labels, whoever listens
        rows.append(label_row(spec))
    cond = {each.name: jax.ShapeDtypeStruct((size, *each.shape), each.dtype) for each in rows}
    return {"image": jax.ShapeDtypeStruct((size, *spec.shape), jnp.uint8), "cond": cond}
