"""What every flow makes of images."""

from __future__ import annotations

from typing import NamedTuple

import jax

Latents = tuple[jax.Array, ...]  # noise of the base density: what left at each level, the top one last


class Encoded(NamedTuple):
    """What encoding images gives."""

    latents: Latents
    bits_per_dim: jax.Array  # [B]
    class_logits: jax.Array | None = None  # [B, classes] of the class-conditional model's classifier
