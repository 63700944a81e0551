"""The variational bound of images in bits per dimension, every term of it (Ho et al., 2020, eq. 5)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from glowdiff.diffusion.likelihood import per_example, prior_term, vb_term
from glowdiff.samplers.levels import Step, as_dtype, expand, rows
from glowdiff.samplers.prediction import Denoiser, eps_of


class Terms(NamedTuple):
    """Of every example; what belongs to one step is in the order of the grid, clean to noisy."""

    total: jax.Array  # [B], prior + sum of vb
    prior: jax.Array  # [B]
    vb: jax.Array  # [B, K]; at 0 the discretised likelihood, else KLs
    x_0_mse: jax.Array  # [B, K], of the prediction of the data
    eps_mse: jax.Array  # [B, K], of that of the noise


def bound(denoise: Denoiser, x_0: jax.Array, grid: Step, keys: jax.Array, levels: int) -> Terms:
    """The bound over a grid: one `lax.scan`, whose memory beside the result does not grow with the steps.

    Predictions of the data are clipped to [-1, 1], and eps is derived from them again, as in the originals' evaluation.

    Args:
      denoise: see `Denoiser`; unguided. It is called once per row, with that row's level as scalars.
      x_0: data in [-1, 1], [B, ...], at least float32.
      grid: float64 tables, of all timesteps (`Process.training_grid`) or some.
      keys: one key per example [B]; the noise of row k is that of its key folded with k, so that an example's bound
        does not depend on its batch.
      levels: values that a pixel can take.
    """
    table = as_dtype(grid, x_0.dtype)

    def term(carry: None, row: tuple[jax.Array, Step]) -> tuple[None, tuple[jax.Array, ...]]:
        k, step = row

        def draw(key: jax.Array) -> jax.Array:
            return jax.random.normal(jax.random.fold_in(key, k), x_0.shape[1:], x_0.dtype)

        noise = jax.vmap(draw)(keys)
        x_t = expand(step.now.alpha, x_0) * x_0 + expand(step.now.sigma, x_0) * noise
        prediction = denoise(x_t, step.now)
        clipped = prediction._replace(x_0=jnp.clip(prediction.x_0, -1, 1))
        eps = eps_of(x_t, step.now, clipped.x_0)
        vb = vb_term(clipped, x_0, x_t, step, levels)
        return carry, (vb, per_example((clipped.x_0 - x_0) ** 2), per_example((eps - noise) ** 2))

    numbered = (jnp.arange(len(grid.beta)), table)
    _, (vb, x_0_mse, eps_mse) = jax.lax.scan(term, None, numbered)
    prior = prior_term(x_0, rows(table.now, -1))
    return Terms(prior + vb.sum(0), prior, vb.T, x_0_mse.T, eps_mse.T)
