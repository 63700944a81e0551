"""The two ways in which RealNVP's couplings divide an image: by a checkerboard, and by channels (section 3.4)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Parity = int | jax.Array  # which of the two parts is kept; an array where couplings are scanned


def checkerboard(height: int, width: int, parity: Parity) -> jax.Array:
    """Bool [1, H, W, 1]: the squares that a coupling of this parity keeps; the upper left one if it is 0."""
    rows, columns = jnp.arange(height)[:, None], jnp.arange(width)[None, :]
    return ((rows + columns) % 2 == parity)[None, :, :, None]


def swap(x: jax.Array, parity: Parity) -> jax.Array:
    """The channels of x [..., C], C even, with their halves exchanged if the parity is 1; its own inverse."""
    first, second = jnp.split(x, 2, axis=-1)
    return jnp.where(jnp.asarray(parity) == 1, jnp.concatenate([second, first], axis=-1), x)


def divide(x: jax.Array, kind: str, parity: Parity) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What a coupling keeps of x [B, H, W, C], what it changes, and where it changes it.

    Returns:
      kept, changed: of a checkerboard, whole images with zeros in place of the other part; of channels, halves.
      mask: bool [1, H, W, 1], where `changed` holds pixels.
    """
    if kind == "checkerboard":
        keep = checkerboard(x.shape[1], x.shape[2], parity)
        return jnp.where(keep, x, 0), jnp.where(keep, 0, x), ~keep
    kept, changed = jnp.split(swap(x, parity), 2, axis=-1)
    return kept, changed, jnp.ones((1, *x.shape[1:3], 1), bool)


def unite(kept: jax.Array, changed: jax.Array, kind: str, parity: Parity) -> jax.Array:
    """The inverse of `divide`."""
    if kind == "checkerboard":
        return kept + changed
    return swap(jnp.concatenate([kept, changed], axis=-1), parity)
