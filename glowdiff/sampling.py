"""Any number of samples of any method, in batches, over all devices and processes."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from glowdiff.config.schema import ConfigError
from glowdiff.method import Method, SampleOptions, Variables, example_keys
from glowdiff.sharding import batch_sharding, replicated

LABEL_STREAM = 2**31 - 1  # folded into an example's key to draw the label that was not asked for


class Samples(NamedTuple):
    """What `Sampler` returns."""

    images: np.ndarray  # uint8 [n, H, W, C]
    labels: np.ndarray | None  # int32 [n], of methods that take a label


class Sampler:
    """`method.sample`, compiled once per batch size; keys, labels and options never recompile."""

    def __init__(self, method: Method, mesh: Mesh) -> None:
        if method.sample is None or method.latents is None:
            raise ValueError("this method draws no samples: it is a guide for others.")
        self._mesh = mesh
        self._run = jax.jit(self._batch, static_argnames="size", out_shardings=batch_sharding(mesh))
        self._latents, self._sample, self._labels = method.latents, method.sample, method.labels

    def __call__(
        self,
        variables: Variables,
        key: jax.Array,
        n: int,
        *,
        label: int | np.ndarray | None = None,
        options: SampleOptions | None = None,
        batch: int | None = None,
    ) -> Samples:
        """Draw samples 0 ... n - 1 of `key`; they do not depend on `batch` or on the devices.

        Args:
          variables: of the method.
          key: a scalar `jax.random.key`.
          n: how many.
          label: one for all, or int [n]; None draws them uniformly. Only for methods with labels.
          options: see `SampleOptions`.
          batch: images at a time; None: all at once.

        Raises:
          ConfigError: n or batch is not positive; a label of a method without labels, or out of range.
        """
        if n < 1 or (batch is not None and batch < 1):
            raise ConfigError(f"the number of samples ({n}) and the batch ({batch}) must be at least 1.")
        size = min(batch or n, n)
        size = -(-size // self._mesh.size) * self._mesh.size
        labels = self._check_labels(label, n)
        options = _as_float32(options or SampleOptions())
        images, drawn = [], []
        for start in range(0, n, size):
            wanted = None
            if labels is not None:
                wanted = np.resize(labels[start : start + size], size)  # repeats fill the last batch
            picture, used = self._run(variables, key, np.int32(start), wanted, options, size=size)
            images.append(_fetch(picture))
            drawn.append(_fetch(used))
        pictures = np.concatenate(images)[:n]
        return Samples(pictures, np.concatenate(drawn)[:n] if self._labels else None)

    def _batch(
        self,
        variables: Variables,
        key: jax.Array,
        start: jax.Array,
        labels: jax.Array | None,
        options: SampleOptions,
        *,
        size: int,
    ) -> tuple[jax.Array, jax.Array]:
        keys = example_keys(key, size, start)
        if labels is None:
            labels = jax.vmap(
                lambda k: jax.random.randint(jax.random.fold_in(k, LABEL_STREAM), (), 0, max(self._labels, 1))
            )(keys)
        cond = {"label": labels} if self._labels else {}
        latents = jax.lax.with_sharding_constraint(self._latents(keys, size), batch_sharding(self._mesh))
        variables = jax.lax.with_sharding_constraint(variables, replicated(self._mesh))
        return self._sample(variables, keys, latents, cond, options), labels

    def _check_labels(self, label: int | np.ndarray | None, n: int) -> np.ndarray | None:
        if label is None:
            return None
        if not self._labels:
            raise ConfigError(
                "a label was given, but this model was not trained with labels (model.class_conditional)."
            )
        labels = np.broadcast_to(np.asarray(label, np.int32), (n,))
        if labels.min() < 0 or labels.max() >= self._labels:
            raise ConfigError(f"label {label} does not exist; this model knows 0 to {self._labels - 1}.")
        return labels


def _as_float32(options: SampleOptions) -> SampleOptions:
    """Python numbers as arrays: an int and a float would compile twice."""
    return jax.tree.map(lambda value: jnp.asarray(value, jnp.float32), options)


def _fetch(array: jax.Array) -> Any:
    if array.is_fully_addressable:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))
