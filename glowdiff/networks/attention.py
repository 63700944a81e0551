"""Scaled dot-product attention, by the kernel that the platform has for it."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from glowdiff.networks import splash
from glowdiff.sharding import Platform


def attend(
    query: jax.Array, key: jax.Array, value: jax.Array, platform: Platform | None = None, *, causal: bool = False
) -> jax.Array:
    """Attention [B, T, heads, channels of a head], softmax in float32, or wider.

    Args:
      query: [B, T, heads, channels of a head],
      key: and what it is compared with, [B, S, heads, channels of a head],
      value: what is there.
      platform: what is compiled for; its kernel is taken where it can compute these shapes. None: it has none.
      causal: a token sees those before it and itself only; by no kernel.
    """
    if query.dtype == jnp.float64:
        return _exact(query, key, value, causal)
    kernel, mesh = (platform.attention, platform.mesh) if platform and not causal else (None, None)
    if kernel == "splash" and mesh is not None and splash.takes(query, key, mesh):
        return splash.attend(query, key, value, mesh)
    fused = kernel == "cudnn" and _cudnn_takes(query, key)
    return jax.nn.dot_product_attention(query, key, value, is_causal=causal, implementation="cudnn" if fused else None)


def _exact(query: jax.Array, key: jax.Array, value: jax.Array, causal: bool) -> jax.Array:
    """In float64, whose softmax JAX's own function would round to float32."""
    logits = jnp.einsum("bqhc,bkhc->bhqk", query, key) * query.shape[-1] ** -0.5
    if causal:
        seen = jnp.tril(jnp.ones(logits.shape[-2:], bool))[None, None]
        logits = jnp.where(seen, logits, -jnp.inf)
    return jnp.einsum("bhqk,bkhc->bqhc", jax.nn.softmax(logits), value)


def _cudnn_takes(query: jax.Array, key: jax.Array) -> bool:
    """Whether cuDNN can compute these shapes."""
    size = query.shape[-1]
    return (
        query.dtype in (jnp.bfloat16, jnp.float16)
        and query.shape[1] % 64 == 0
        and key.shape[1] % 64 == 0
        and size % 8 == 0
        and size <= 128
    )
