"""The arithmetic of likelihoods: at least float32, full precision."""

from __future__ import annotations

import jax
import jax.numpy as jnp

HIGHEST = jax.lax.Precision.HIGHEST  # "float32" products are TF32 on GPUs and bfloat16 on TPUs unless one asks


def promote(x: jax.Array) -> jax.Array:
    """`x` in at least float32; float64 stays, so that references in double precision work."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def per_channel(values: jax.Array, x: jax.Array) -> jax.Array:
    """`values` [C] in as many dimensions as x [..., C] has, to be broadcast on purpose."""
    return values.reshape((1,) * (x.ndim - 1) + values.shape)


def sum_per_example(x: jax.Array) -> jax.Array:
    """Sum of `x` [B, ...] over everything but its first axis: [B]."""
    return x.sum(axis=tuple(range(1, x.ndim)))
