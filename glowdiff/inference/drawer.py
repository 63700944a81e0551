"""Any number of samples of any method, in batches, over all devices and processes."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from glowdiff.config.sections import Config, SamplingConfig
from glowdiff.errors import ConfigError, require
from glowdiff.method import Guide, Latents, Method, SampleOptions, Variables, example_keys
from glowdiff.sharding import batch_sharding, replicated

LABEL_STREAM = 2**31 - 1  # folded into an example's key to draw the label that was not asked for


class Samples(NamedTuple):
    """What `Sampler` returns."""

    images: np.ndarray  # uint8 [n, H, W, C]; of a film [n, frames, H, W, C]
    labels: np.ndarray | None  # int32 [n], of methods that take a label


class Drawn(NamedTuple):
    """What of a `Method` is needed to draw, for what is no whole one; see there."""

    latents: Callable[[jax.Array, int], Latents] | None
    sample: Callable[..., jax.Array] | None
    film: Callable[..., jax.Array] | None = None
    labels: int = 0
    null_label: bool = False


class Sampler:
    """`method.sample`, compiled once per batch size and static option; keys, labels and numbers never recompile."""

    def __init__(self, method: Method | Drawn, mesh: Mesh, *, film: bool = False) -> None:
        """Of `method` on the devices of `mesh`; with `film`, its `film` in place of its `sample`."""
        draw = method.film if film else method.sample
        if draw is None or method.latents is None:
            raise ValueError("this method draws no " + ("films." if film else "samples: it is a guide for others."))
        self._mesh, self._method, self._draw, self._latents = mesh, method, draw, method.latents
        self._run = jax.jit(self._batch, static_argnames="size", out_shardings=batch_sharding(mesh))

    def __call__(
        self,
        variables: Variables,
        key: jax.Array,
        n: int,
        *,
        label: int | str | np.ndarray | None = None,
        cond: Mapping[str, np.ndarray] | None = None,
        options: SampleOptions | None = None,
        batch: int | None = None,
    ) -> Samples:
        """Draw samples 0 ... n - 1 of `key`; they do not depend on `batch` or on the devices.

        Args:
          variables: of the method.
          key: a scalar `jax.random.key`, or a key for each sample, [n].
          n: how many.
          label: one for all, int [n], or "none" for methods with a null label; None draws them uniformly. Only for
            methods, or guides, with labels.
          cond: other conditions, arrays [n, ...], such as `low_res`.
          options: see `SampleOptions`.
          batch: images at a time; None: all at once.

        Raises:
          ConfigError: n or batch is not positive; a label that the method does not know.
        """
        if n < 1 or (batch is not None and batch < 1):
            raise ConfigError(f"the number of samples ({n}) and the batch ({batch}) must be at least 1.")
        size = min(batch or n, n)
        size = -(-size // self._mesh.size) * self._mesh.size
        options = as_float32(options or SampleOptions())
        labels = self._check_labels(label, n, options)
        given = dict(cond or {}) | ({} if labels is None else {"label": labels})
        images, drawn = [], []
        for start in range(0, n, size):
            # Repeats fill the last batch.
            rows = np.resize(np.arange(start, min(start + size, n)), size)
            wanted = {name: np.asarray(array)[rows] for name, array in given.items()}
            keys = key[rows] if key.ndim else key
            picture, used = self._run(variables, keys, np.int32(start), wanted, options, size=size)
            images.append(_fetch(picture))
            drawn.append(_fetch(used))
        pictures = np.concatenate(images)[:n]
        return Samples(pictures, np.concatenate(drawn)[:n] if self._labels(options) else None)

    def lower(self, variables: Any, size: int, *, cond: Any = None, options: SampleOptions | None = None) -> Any:
        """The program of one batch of `size` images, traced for arrays or shapes: `.compile()` does the rest."""
        return self.program.lower(*self.arguments(variables, cond=cond, options=options), size=size)

    @property
    def program(self) -> Any:
        """The jitted function behind a call, of `arguments` and the static `size`."""
        return self._run

    @staticmethod
    def arguments(variables: Any, *, cond: Any = None, options: SampleOptions | None = None) -> tuple[Any, ...]:
        """Shapes and dtypes that `program` takes for one batch."""
        shape = lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf))  # noqa: E731
        options = jax.tree.map(shape, as_float32(options or SampleOptions()))
        key = jax.eval_shape(jax.random.key, 0)
        return variables, key, jax.ShapeDtypeStruct((), np.int32), dict(cond or {}), options

    def _batch(
        self,
        variables: Variables,
        key: jax.Array,
        start: jax.Array,
        cond: dict[str, jax.Array],
        options: SampleOptions,
        *,
        size: int,
    ) -> tuple[jax.Array, jax.Array]:
        keys, known = example_keys(key, size, start), self._labels(options)
        cond = jax.lax.with_sharding_constraint(cond, batch_sharding(self._mesh))
        labels = cond.get("label")
        if labels is None:
            labels = jax.vmap(lambda k: jax.random.randint(jax.random.fold_in(k, LABEL_STREAM), (), 0, max(known, 1)))(
                keys
            )
        if known:
            cond = {**cond, "label": labels}
        latents = jax.lax.with_sharding_constraint(self._latents(keys, size), batch_sharding(self._mesh))
        # Parameters of the model and of its guides are gathered once, in front of all steps.
        variables, options = jax.lax.with_sharding_constraint((variables, options), replicated(self._mesh))
        return self._draw(variables, keys, latents, cond, options), labels

    def _labels(self, options: SampleOptions) -> int:
        """How many classes a label may name."""
        return self._method.labels or max((guide.labels for guide in options.guides), default=0)

    def _check_labels(self, label: int | str | np.ndarray | None, n: int, options: SampleOptions) -> np.ndarray | None:
        if label is None:
            return None
        known = self._labels(options)
        if not known:
            raise ConfigError(
                "a label was given, but this model was not trained with labels (model.class_conditional)."
            )
        if isinstance(label, str) and label == "none" and any(guide.labels for guide in options.guides):
            raise ConfigError(
                'label is "none", but a classifier guides towards a label: give one, or leave it out. guidance_scale=0 '
                "hides it from the model alone."
            )
        return label_array(label, n, known, null=self._method.null_label)


def label_array(label: int | str | np.ndarray, n: int, known: int, *, null: bool) -> np.ndarray:
    """Labels int32 [n] of classes 0 ... known - 1, or `known` for "none".

    Args:
      label: one for all, [n], or "none".
      n: how many.
      known: classes.
      null: whether there is a label for none of them.

    Raises:
      ConfigError: there is no such label, or another number of them than n.
    """
    if isinstance(label, str):
        if label != "none" or not null:
            raise ConfigError(
                f"label is {label!r}; it must be a number"
                + (' or "none".' if null else f" from 0 to {known - 1}; this model knows no other.")
            )
        return np.full(n, known, np.int32)
    labels = np.asarray(label, np.int32)
    if labels.shape not in ((), (n,)):
        raise ConfigError(f"label has shape {list(labels.shape)}; it must be one number, or [{n}], one for each image.")
    if labels.size and (labels.min() < 0 or labels.max() >= known):
        raise ConfigError(f"label {label} does not exist; this model knows 0 to {known - 1}.")
    return np.broadcast_to(labels, (n,))


def resolve(
    config: Config,
    *,
    guides: tuple[Guide, ...] = (),
    frames: int | None = None,
    strength: float | None = None,
    **changes: Any,
) -> SampleOptions:
    """The options of a configuration's `sampling` section, with changes.

    Args:
      config: of the model.
      guides: networks that pull the samples.
      frames: of a film.
      strength: of SDEdit, above 0 and at most 1.
      **changes: keys of `sampling`; None leaves one as configured.

    Raises:
      ConfigError: there is no such key, its value cannot be, or the model has no use for it.
    """
    known = [field.name for field in dataclasses.fields(SamplingConfig) if field.name not in ("every", "images")]
    for key in changes:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = f"Did you mean {close[0]}?" if close else f"Known: {', '.join(known)}."
            raise ConfigError(f"there is no option {key} of sampling. {hint}")
    given = {key: value for key, value in changes.items() if value is not None}
    if "steps" in given:
        given["steps"] = str(given["steps"])
    sampling = dataclasses.replace(config.sampling, **given)
    sampling.check()
    config.model.check_sampling(sampling)
    same = {field.name for field in dataclasses.fields(SampleOptions)} & set(known)
    values: dict[str, Any] = {key: getattr(sampling, key) for key in same}
    if frames is not None:
        values["frames"] = frames
    if strength is not None:
        require(0 < strength <= 1, f"strength is {strength}; it is the share of noise, above 0 and at most 1.")
        values["strength"] = float(strength)
    interval = (sampling.guidance_from, sampling.guidance_to)
    return SampleOptions(guides=guides, guidance_interval=interval, **values)


def as_float32(options: SampleOptions) -> SampleOptions:
    """Options with numbers, Python's and NumPy's, as arrays: an int and a float would compile twice."""
    number = (int, float, np.number)
    return jax.tree.map(lambda leaf: jnp.float32(leaf) if isinstance(leaf, number) else leaf, options)


def _fetch(array: jax.Array) -> Any:
    if array.is_fully_addressable:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))
