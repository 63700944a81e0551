"""Random erased regions, on which inpainting models are trained (Nichol et al., 2021, section 2.5)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

RECTANGLES = 4  # at most, whose union is erased
INVERTED = 0.25  # share of masks of which only the region stays
NOTHING = 0.1  # share of masks of which nothing is known: the model can also draw on its own


def known_masks(keys: jax.Array, height: int, width: int) -> jax.Array:
    """A random mask for each key [B]: float [B, height, width, 1], 1 where pixels are known, 0 where erased."""
    return jax.vmap(lambda key: _known_mask(key, height, width))(keys)


def _known_mask(key: jax.Array, height: int, width: int) -> jax.Array:
    count_key, box_key, kind_key = jax.random.split(key, 3)
    used = jnp.arange(RECTANGLES)[:, None, None] < jax.random.randint(count_key, (), 1, RECTANGLES + 1)
    # Centres anywhere; sides from a tenth to seven tenths of the image's.
    middle, side = jax.random.uniform(box_key, (2, 2, RECTANGLES, 1, 1))
    side = 0.1 + 0.6 * side
    rows = jnp.linspace(0, 1, height)[None, :, None]
    columns = jnp.linspace(0, 1, width)[None, None, :]
    inside = (jnp.abs(rows - middle[0]) < side[0] / 2) & (jnp.abs(columns - middle[1]) < side[1] / 2)
    erased = (used & inside).any(0)
    kind = jax.random.uniform(kind_key)
    erased = jnp.where(kind < INVERTED, ~erased, erased) | (kind > 1 - NOTHING)
    return (~erased).astype(jnp.float32)[..., None]
