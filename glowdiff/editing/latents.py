"""Arithmetic on latents: pytrees whose arrays have a leading batch axis [B] (`glowdiff.method.Latents`).

Pure functions, for any method and under `jit`. Weights `t`, `alpha` and `temperature` may be scalars, which leave
shapes as they are, or arrays of any shape S, whose axes come first: arrays [B, ...] become [*S, B, ...].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from glowdiff.method import Latents

Weights = Any  # a number, or an array of them
PARALLEL = 1e-6  # 1 - |cos| of an angle so small (1.4e-3) that float32 no longer tells the great circle from the chord


def linear(a: Latents, b: Latents, t: Weights) -> Latents:
    """The straight line (1 - t) a + t b; a and b exactly at t = 0 and t = 1 (Glow, section 5)."""
    return _for_each(t, lambda t: _combine(1 - t, a, t, b))


def spherical(a: Latents, b: Latents, t: Weights) -> Latents:
    """The great circle from a to b; a and b exactly at t = 0 and t = 1 (White, 2016, arXiv:1609.04468, section 2.1).

    sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b, where w is the angle between a and b. All arrays of an example
    count as one vector. Between latents of equal norm the norm stays, and white noise in many dimensions has nearly one
    norm; a straight line cuts it short. Where a and b are (nearly) parallel, opposite or zero, it is the straight line.
    """
    ab, aa, bb = _dot(a, b), _dot(a, a), _dot(b, b)
    # Both `where`s have finite values on both sides, so gradients are finite too.
    nonzero = (aa > 0) & (bb > 0)
    cosine = ab * jax.lax.rsqrt(jnp.where(nonzero, aa, 1)) * jax.lax.rsqrt(jnp.where(nonzero, bb, 1))
    curved = nonzero & (jnp.abs(cosine) < 1 - PARALLEL)
    angle = jnp.arccos(jnp.where(curved, cosine, 0))

    def at(t: jax.Array) -> Latents:
        start = jnp.where(curved, jnp.sin((1 - t) * angle) / jnp.sin(angle), 1 - t)
        end = jnp.where(curved, jnp.sin(t * angle) / jnp.sin(angle), t)
        return _combine(start, a, end, b)

    return _for_each(t, at)


def add_direction(latents: Latents, direction: Latents, alpha: Weights) -> Latents:
    """Move every example by alpha times `direction`, whose arrays have no batch axis."""
    return _for_each(
        alpha,
        lambda alpha: jax.tree.map(
            lambda x, d: x + alpha.astype(x.dtype) * d[None].astype(x.dtype), latents, direction
        ),
    )


def scale(latents: Latents, temperature: Weights) -> Latents:
    """White noise at another standard deviation: every array times `temperature` (Glow, section 5; 0.7 looks best)."""
    return _for_each(temperature, lambda t: jax.tree.map(lambda x: t.astype(x.dtype) * x, latents))


def _for_each(weights: Weights, function: Callable[[jax.Array], Latents]) -> Latents:
    weights = jnp.asarray(weights, jnp.promote_types(jnp.result_type(weights), jnp.float32))
    for _ in range(weights.ndim):
        function = jax.vmap(function)
    return function(weights)


def _combine(u: jax.Array, a: Latents, v: jax.Array, b: Latents) -> Latents:
    """The sum u a + v b, with u and v scalars or one number per example [B], in the arrays' own precision."""

    def weigh(weight: jax.Array, x: jax.Array) -> jax.Array:
        if weight.ndim:
            weight = weight.reshape(-1, *(1,) * (x.ndim - 1))
        return weight.astype(x.dtype) * x

    return jax.tree.map(lambda x, y: weigh(u, x) + weigh(v, y), a, b)


def _dot(a: Latents, b: Latents) -> jax.Array:
    """Inner products [B], over all arrays, in at least float32."""

    def one(x: jax.Array, y: jax.Array) -> jax.Array:
        dtype = jnp.promote_types(x.dtype, jnp.float32)
        return (x.astype(dtype) * y.astype(dtype)).sum(tuple(range(1, x.ndim)))

    return jnp.stack(jax.tree.leaves(jax.tree.map(one, a, b))).sum(0)
