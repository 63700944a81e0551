"""The terms of the variational bound, in bits per dimension: Gaussians, and integer pixels under one."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from glowdiff.samplers.levels import Level, Step, expand
from glowdiff.samplers.posterior import log_variance, posterior_mean
from glowdiff.samplers.prediction import Prediction

TINY = 1e-12  # probabilities below it count as it, as in the original


def per_example(x: jax.Array) -> jax.Array:
    """The mean over all axes but the first."""
    return x.reshape(x.shape[0], -1).mean(1)


def normal_kl(mean: jax.Array, log_var: jax.Array, other_mean: jax.Array, other_log_var: jax.Array) -> jax.Array:
    """KL(N(mean, exp log_var) || N(other_mean, exp other_log_var)) in nats, elementwise."""
    ratio = log_var - other_log_var
    # expm1: near the end of the process both variances are almost equal.
    return 0.5 * (jnp.expm1(ratio) - ratio + (mean - other_mean) ** 2 * jnp.exp(-other_log_var))


def normal_cdf(x: jax.Array) -> jax.Array:
    """The standard normal's, by the approximation of the original."""
    return 0.5 * (1 + jnp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def discretized_log_likelihood(x: jax.Array, mean: jax.Array, log_var: jax.Array, levels: int) -> jax.Array:
    """The log probability of a pixel's bin under a Gaussian, elementwise (Ho et al., 2020, eq. 13).

    Args:
      x: pixels scaled to [-1, 1], so that a bin reaches 1 / (levels - 1) either way; the two at the ends are open.
      mean: of the Gaussian.
      log_var: of the Gaussian.
      levels: values that a pixel can take, 2 to 1000.
    """
    inverse_sd = jnp.exp(-0.5 * log_var)
    half = 1 / (levels - 1)
    below = normal_cdf(inverse_sd * (x - mean - half))
    above = normal_cdf(inverse_sd * (x - mean + half))
    inside = jnp.where(x < -0.999, above, jnp.where(x > 0.999, 1 - below, above - below))
    return jnp.log(jnp.maximum(inside, TINY))


def prior_term(x_0: jax.Array, last: Level) -> jax.Array:
    """KL(q(x_T | x_0) || N(0, 1)) in bits per dimension [B]; no network has a say in it.

    Args:
      x_0: data in [-1, 1], [B, ...].
      last: the noisiest level.
    """
    alpha_bar = expand(last.alpha_bar, x_0)
    # log1p: alpha_bar is far below float32's epsilon, of which the KL of two log variances would be made.
    return per_example(0.5 * (alpha_bar * x_0**2 - alpha_bar - jnp.log1p(-alpha_bar))) / math.log(2)


def vb_term(prediction: Prediction, x_0: jax.Array, x_t: jax.Array, step: Step, levels: int) -> jax.Array:
    """One step's term of the bound in bits per dimension [B] (Ho et al., 2020, eq. 5).

    It is KL(q(x_next | x_t, x_0) || p(x_next | x_t)), and in row 0 of a grid, whose next level is data, -log p(x_0).

    Args:
      prediction: of x_t.
      x_0: data in [-1, 1], [B, ...].
      x_t: q_sample(x_0, step.now, noise).
      step: scalars or [B].
      levels: values that a pixel can take.
    """
    mean, log_var = posterior_mean(prediction.x_0, x_t, step), log_variance(prediction, step)
    nats = jnp.where(
        expand(step.next.t < 0, x_0),
        -discretized_log_likelihood(x_0, mean, log_var, levels),
        normal_kl(posterior_mean(x_0, x_t, step), expand(step.posterior_log_variance, x_t), mean, log_var),
    )
    return per_example(nats) / math.log(2)
