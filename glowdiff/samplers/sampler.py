"""What a sampler is, and the one loop that runs them all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from glowdiff.samplers.levels import Level, Step, as_dtype
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
    x_T: jax.Array,
    grid: Step,
    noise_keys: jax.Array | None,
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
      noise_keys: one key per example [B]; a turn's noise is that of the key folded with the turn's number. None for
        samplers that draw none.
      eta: traced; what it scales is the sampler's affair (DDIM: noise, 0 none, 1 as much as the ancestral one's).
      frames: how many x_0 predictions to keep, evenly spread over the turns, the last one among them; all of them if
        there are not so many turns.

    Returns:
      The samples [B, ...], and the frames [frames, B, ...], or None if none were asked for.
    """
    turns = sampler.plan(grid, x_T.dtype)
    count = turns.level.t.shape[0]
    frames = min(frames, count)
    eta = jnp.asarray(eta, x_T.dtype)

    def take(state: tuple[Carry, jax.Array | None], numbered: tuple[jax.Array, Turn]) -> tuple[Any, None]:
        (carry, kept), (index, turn) = state, numbered
        x = sampler.inputs(carry)
        prediction = denoise(x, turn.level)

        def noise() -> jax.Array:
            assert noise_keys is not None, "this sampler draws noise, so it needs noise_keys"
            keys = jax.vmap(jax.random.fold_in, (0, None))(noise_keys, index)
            return jax.vmap(lambda key: jax.random.normal(key, x.shape[1:], x.dtype))(keys)

        if kept is not None:
            # All turns write; of those that share a place the last one stays.
            place = ((index + 1) * frames + count - 1) // count - 1
            kept = jax.lax.dynamic_update_index_in_dim(kept, prediction.x_0, place, 0)
        return (sampler.step(carry, prediction, turn, noise, eta), kept), None

    kept = jnp.zeros((frames, *x_T.shape), x_T.dtype) if frames else None
    (carry, kept), _ = jax.lax.scan(take, (sampler.init(x_T), kept), (jnp.arange(count), turns))
    return sampler.result(carry), kept


def descending(grid: Any, dtype: Any) -> Any:
    """The rows of a grid in the order in which samplers walk them, from the noisiest, as jax arrays of `dtype`."""
    return as_dtype(jax.tree.map(lambda table: table[::-1], grid), dtype)


def state_is_x(plan: Callable[[Step, Any], Turn], step: Callable[..., jax.Array]) -> Sampler:
    """A sampler that carries x alone and evaluates the denoiser there."""
    return Sampler(plan, lambda x: x, lambda x: x, step, lambda x: x)
