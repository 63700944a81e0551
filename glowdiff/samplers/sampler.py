"""What a sampler is, and the one loop that runs them all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from glowdiff.samplers.levels import Level, Step
from glowdiff.samplers.prediction import Denoiser, Prediction

Carry = Any
Noise = Callable[[], jax.Array]  # standard normal, in the shape of x; drawn only when it is called


class Turn(NamedTuple):
    """One turn of the loop: exactly one evaluation of the denoiser, at `level`."""

    level: Level
    coefficients: Any  # the sampler's own


class Sampler(NamedTuple):
    """A way from noise to data.

    `plan` is computed once, before the loop: from a grid of K steps (float64 tables on the host) and the dtype of x to
    the turns of the loop, arrays [N, ...] in the order in which they run, from noise to data. N = K for all that
    evaluate once per step.
    """

    plan: Callable[[Step, Any], Turn]  # (grid, dtype) -> turns, jax arrays [N, ...]
    init: Callable[[jax.Array], Carry]  # x_T -> what the loop carries
    inputs: Callable[[Carry], jax.Array]  # where the denoiser is evaluated next: x at the turn's level
    # (carry, prediction at that x, the turn, noise, eta) -> carry
    step: Callable[[Carry, Prediction, Turn, Noise, jax.Array], Carry]
    result: Callable[[Carry], jax.Array]  # the sample, after the last turn


def run(
    sampler: Sampler,
    denoise: Denoiser,
    x_T: jax.Array,  # noqa: N803
    grid: Step,
    noise_keys: jax.Array,
    *,
    eta: jax.Array | float = 0.0,
    frames: int = 0,
) -> tuple[jax.Array, jax.Array | None]:
    """Walk from x_T to data: one `lax.scan`, for any sampler and any denoiser.

    Args:
      sampler: one of `glowdiff.samplers.SAMPLERS`.
      denoise: see `Denoiser`.
      x_T: standard normal [B, ...].
      grid: of float64 tables, see `glowdiff.samplers.spacing`.
      noise_keys: one key per example [B]; a turn's noise is that of the key folded with the turn's number.
      eta: traced; what it scales is the sampler's affair (DDIM: noise, 0 none, 1 as much as the ancestral one's).
      frames: how many x_0 predictions to keep, evenly spread over the turns, the last one among them.

    Returns:
      The samples [B, ...], and the frames [frames, B, ...], or None if none were asked for.
    """
    raise NotImplementedError
