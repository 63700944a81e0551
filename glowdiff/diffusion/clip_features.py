"""A CLIP that was trained here as a judge of pictures: what it sees in them without noise, and reads in captions.

It is no published CLIP, and figures by it must not be taken for theirs. To judge what it has guided says little: the
samples were drawn for it to like.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from glowdiff.diffusion.clip import Towers
from glowdiff.diffusion.scaling import to_unit
from glowdiff.method import Features, Variables


def clip_features(towers: Towers, side: int) -> Features:
    """`image` and `text` [B, E], of length 1, of pictures with `side` pixels a side, at t = 0, and of captions."""

    def images(variables: Variables, x_0: jax.Array) -> dict[str, jax.Array]:
        with jax.default_matmul_precision("highest"):
            return {"image": _single(towers.image(variables, x_0, jnp.zeros(len(x_0), towers.dtype)))}

    def texts(variables: Variables, tokens: jax.Array, mask: jax.Array) -> dict[str, jax.Array]:
        with jax.default_matmul_precision("highest"):
            return {"text": _single(towers.text(variables, tokens, mask))}

    prepare = {"as_trained": partial(to_unit, levels=256, dtype=towers.dtype)}
    return Features(prepare, images, texts, main="image", side=side, resizes=False)


def _single(z: jax.Array) -> jax.Array:
    return z.astype(jnp.float32)
