"""What networks are trained on, per example."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from glowdiff.diffusion.likelihood import per_example, vb_term
from glowdiff.diffusion.process import Process
from glowdiff.samplers.levels import Level, Step

LOSSES = ("simple", "hybrid", "kl", "rescaled_kl")


class Losses(NamedTuple):
    """Of every example, [B]."""

    total: jax.Array  # what is minimised
    mse: jax.Array | None = None  # of the network's own target, without a weight
    vb: jax.Array | None = None  # term of the variational bound in bits per dimension, without a factor


def losses(
    process: Process,
    kind: str,
    output: jax.Array,
    x_0: jax.Array,
    noise: jax.Array,
    step: Step,
    *,
    levels: int,
    gamma: float | None = None,
    steps: int | None = None,
) -> Losses:
    """The losses of a network's outputs.

    `simple` is the mean squared error (Ho et al., 2020, eq. 14), plus the term of the bound if the variance is learned.
    `hybrid` scales that term by T / 1000 (Nichol & Dhariwal, 2021, eq. 16). In both the term trains the variance alone:
    no gradient reaches the mean through it. `kl` is the term itself, `rescaled_kl` T times it, an estimate of the whole
    bound without its prior.

    Args:
      process: how x_t was made, and what the output means.
      kind: one of `LOSSES`.
      output: of the network for x_t = q_sample(x_0, step.now, noise), see `Process.split`.
      x_0: data in [-1, 1], [B, ...].
      noise: standard normal, in the shape of x_0.
      step: the examples' rows of the grid they are trained on (scalars or [B]).
      levels: values that a pixel can take.
      gamma: of min-SNR weighting of the squared error; None: no weighting.
      steps: rows of that grid; None: all timesteps of the process.
    """
    steps = process.timesteps if steps is None else steps
    x_t = process.q_sample(x_0, step.now, noise)
    prediction = process.predict(output, x_t, step.now)
    if kind in ("kl", "rescaled_kl"):
        vb = vb_term(prediction, x_0, x_t, step, levels)
        return Losses(vb * steps if kind == "rescaled_kl" else vb, vb=vb)
    mse = per_example((process.split(output)[0] - process.target(x_0, step.now, noise)) ** 2)
    total = mse if gamma is None else mse * min_snr_weight(process.prediction, step.now, gamma)
    if prediction.fraction is None:
        return Losses(total, mse)
    vb = vb_term(prediction._replace(x_0=jax.lax.stop_gradient(prediction.x_0)), x_0, x_t, step, levels)
    return Losses(total + vb * (steps / 1000 if kind == "hybrid" else 1), mse, vb)


def min_snr_weight(prediction: str, level: Level, gamma: float) -> jax.Array:
    """Weights that make the squared error of any target that of x_0 times min(SNR, gamma) (Hang et al., 2023).

    SNR = alpha^2 / sigma^2; the squared errors of eps and v are SNR and SNR + 1 times that of x_0. Pure noise, the last
    level with zero terminal SNR, weighs nothing where x_0 or v is predicted.

    Args:
      prediction: of the network: eps, x_0 or v.
      level: scalars or [B].
      gamma: 5 in the paper.
    """
    signal, noise = level.alpha_bar, level.sigma**2
    if prediction == "v":
        return jnp.minimum(signal, gamma * noise)  # (SNR + 1) is 1 / sigma^2
    if prediction == "eps":
        return jnp.minimum(1.0, gamma * noise / signal)
    return jnp.minimum(signal / noise, gamma)
