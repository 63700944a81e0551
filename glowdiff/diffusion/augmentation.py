"""Noise on what is enlarged, of which the network is told (conditioning augmentation; Ho et al., 2022, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from glowdiff.diffusion.process import Process
from glowdiff.method import Batch, Condition, example_keys, folded
from glowdiff.samplers.levels import as_dtype, rows

NAME = "noise_level"  # the condition
_LEVEL_STREAM, _NOISE_STREAM = 2**30 + 3, 2**30 + 4  # folded into a key for an image's level, and for its noise
_USUAL = 20  # of samples, if nothing is said; that of the published upscaler

# (prepared conditions, keys [n] or None) -> the same, what is enlarged with noise on it
Augment = Callable[[Mapping[str, jax.Array], jax.Array | None], dict[str, jax.Array]]


def level_row(levels: int, most: int) -> Condition:
    """How noisy the small image is: the timestep of its noise; in training any up to `most`."""

    def drawn(batch: Batch, keys: jax.Array) -> jax.Array:
        del batch
        draw = jax.vmap(lambda key: jax.random.randint(key, (), 0, most + 1))
        return draw(folded(keys, _LEVEL_STREAM))

    return Condition(NAME, (), jnp.int32, levels, of_images=drawn)


def augmentation(process: Process, levels: int, dtype: Any) -> Augment:
    """The noise of a process on prepared `low_res`, at the `noise_level` that is told.

    Args:
      process: whose first timesteps give the noise.
      levels: that there are.
      dtype: of images.
    """
    table = as_dtype(process.training_grid().now, dtype)

    def augment(cond: Mapping[str, jax.Array], keys: jax.Array | None) -> dict[str, jax.Array]:
        small = cond["low_res"]
        count = small.shape[0]
        level = cond.get(NAME, jnp.full(count, min(_USUAL, levels - 1), jnp.int32))
        keys = folded(example_keys(jax.random.key(0), count) if keys is None else keys, _NOISE_STREAM)
        noise = jax.vmap(lambda key: jax.random.normal(key, small.shape[1:], dtype))(keys)
        return {**cond, NAME: level, "low_res": process.q_sample(small, rows(table, level), noise)}

    return augment
