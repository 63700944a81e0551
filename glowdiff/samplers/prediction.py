"""What a denoiser says of x_t, whatever its network predicts: the seam between networks, guidance and samplers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from glowdiff.samplers.levels import Level, expand


class Prediction(NamedTuple):
    """Of x_t, all [B, ...] in the shape of x_t."""

    x_0: jax.Array  # the data
    eps: jax.Array  # the noise; x_t = alpha x_0 + sigma eps
    # Where the log variance of p(x_next | x_now) lies between the posterior's (0) and log beta (1), if the network
    # predicts it (Nichol & Dhariwal, 2021, eq. 15); the sampler's step knows those two.
    fraction: jax.Array | None = None
    grad: jax.Array | None = None  # scale * gradient of log p(y | x_t), of classifiers and CLIP; see `shifted`


# (x_t [B, ...], its level: scalars or [B]) -> Prediction
Denoiser = Callable[[jax.Array, Level], Prediction]


def from_eps(x_t: jax.Array, level: Level, eps: jax.Array, fraction: jax.Array | None = None) -> Prediction:
    """The prediction of a network that predicts the noise."""
    x_0 = expand(level.recip_alpha, x_t) * x_t - expand(level.ratio, x_t) * eps
    return Prediction(x_0, eps, fraction)


def from_x_0(x_t: jax.Array, level: Level, x_0: jax.Array, fraction: jax.Array | None = None) -> Prediction:
    """The prediction of a network that predicts the data."""
    return Prediction(x_0, eps_of(x_t, level, x_0), fraction)


def from_v(x_t: jax.Array, level: Level, v: jax.Array, fraction: jax.Array | None = None) -> Prediction:
    """The prediction of a network that predicts v = alpha eps - sigma x_0 (Salimans & Ho, 2022)."""
    alpha, sigma = expand(level.alpha, x_t), expand(level.sigma, x_t)
    return Prediction(alpha * x_t - sigma * v, sigma * x_t + alpha * v, fraction)


def eps_of(x_t: jax.Array, level: Level, x_0: jax.Array) -> jax.Array:
    """The noise that makes x_t of x_0."""
    return (x_t - expand(level.alpha, x_t) * x_0) / expand(level.sigma, x_t)


def shifted(prediction: Prediction, x_t: jax.Array, level: Level) -> Prediction:
    """`grad` taken into the score: eps - sigma * grad (Dhariwal & Nichol, 2021, eq. 14), and x_0 derived again.

    All samplers but the ancestral one, which shifts its mean by variance * grad, begin with this.
    """
    if prediction.grad is None:
        return prediction
    sigma, ratio = expand(level.sigma, x_t), expand(level.ratio, x_t)
    eps = prediction.eps - sigma * prediction.grad
    # Where nothing is left of the data (zero terminal SNR), no gradient moves the prediction of them.
    x_0 = prediction.x_0 + jnp.where(jnp.isfinite(ratio), ratio * sigma, 0) * prediction.grad
    return prediction._replace(x_0=x_0, eps=eps)
