"""Guidance: denoisers made of denoisers.

Their order is the caller's; the published one is classifier-free guidance, then clipping, then gradients. Scales may be
traced: another one compiles nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from glowdiff.samplers.levels import Level, expand
from glowdiff.samplers.prediction import Denoiser, Prediction, eps_of, from_v

Gradient = Callable[[jax.Array, Level], jax.Array]  # (x_t, its level) -> gradient at x_t, [B, ...]
Scale = jax.Array | float  # a number, or one per example [B]


def pairs(first: jax.Array, second: jax.Array) -> jax.Array:
    """Two arrays [B, ...] as one, [2B, ...], row by row in turns.

    One behind the other, a batch that is split over devices would have to change places with its double.
    """
    return jnp.stack([first, second], 1).reshape(-1, *first.shape[1:])


def classifier_free(
    denoise_both: Denoiser,
    scale: Scale,
    interval: tuple[Scale, Scale] | None = None,
    rescale: Scale | None = None,
) -> Denoiser:
    """Classifier-free guidance (Ho & Salimans, 2022): u + scale * (c - u), by one evaluation of a doubled batch.

    Args:
      denoise_both: takes [2B, ...] in the order of `pairs`: each example with its condition, then without.
      scale: 1 + w of the paper: 0 without condition, 1 with it, above 1 guided.
      interval: the lowest and the highest `level.t` at which guidance acts, both included; elsewhere the scale is 1
        (Kynkäänniemi et al., 2024).
      rescale: phi of Lin et al. (2023, eq. 15 and 16), 0 … 1: how far the standard deviation of the guided v is brought
        back to that of the conditional one. They predict v; what the network predicts makes no difference here.
    """

    def denoise(x: jax.Array, level: Level) -> Prediction:
        twice = jax.tree.map(lambda value: pairs(value, value) if value.ndim else value, level)
        both = denoise_both(pairs(x, x), twice)
        conditional, free = (jax.tree.map(lambda v, i=i: v.reshape(-1, 2, *v.shape[1:])[:, i], both) for i in (0, 1))
        acting = jnp.asarray(scale, x.dtype)
        if interval is not None:
            acting = jnp.where((interval[0] <= level.t) & (level.t <= interval[1]), acting, 1)
        acting = expand(acting, x)
        x_0 = free.x_0 + acting * (conditional.x_0 - free.x_0)
        eps = free.eps + acting * (conditional.eps - free.eps)
        guided = Prediction(x_0, eps, conditional.fraction, conditional.grad)
        return guided if rescale is None else _rescaled(guided, conditional, x, level, jnp.asarray(rescale, x.dtype))

    return denoise


def _rescaled(guided: Prediction, plain: Prediction, x: jax.Array, level: Level, phi: jax.Array) -> Prediction:
    def v_of(prediction: Prediction) -> jax.Array:
        return expand(level.alpha, x) * prediction.eps - expand(level.sigma, x) * prediction.x_0

    axes = tuple(range(1, x.ndim))
    v = v_of(guided)
    # A new network predicts v = 0, which has no deviation to divide by.
    least = jnp.finfo(x.dtype).tiny
    factor = v_of(plain).std(axes, keepdims=True) / jnp.maximum(v.std(axes, keepdims=True), least)
    phi = expand(phi, x)
    return from_v(x, level, phi * factor * v + (1 - phi) * v, guided.fraction)._replace(grad=guided.grad)


def with_x_0(prediction: Prediction, x: jax.Array, level: Level, x_0: jax.Array) -> Prediction:
    """Another x_0, and the eps that belongs to it."""
    return prediction._replace(x_0=x_0, eps=eps_of(x, level, x_0))


def clip_x_0(denoise: Denoiser) -> Denoiser:
    """x_0 clipped to [-1, 1], where data are."""

    def clipped(x: jax.Array, level: Level) -> Prediction:
        prediction = denoise(x, level)
        return with_x_0(prediction, x, level, jnp.clip(prediction.x_0, -1, 1))

    return clipped


def dynamic_threshold(denoise: Denoiser, percentile: Scale) -> Denoiser:
    """Dynamic thresholding (Saharia et al., 2022, sec. 2.3), for large scales of classifier-free guidance.

    Each example's x_0 is clipped to [-s, s] and divided by s, the percentile (0 … 100; 99.5 in the paper) of its
    absolute values, or 1 if that is larger.
    """

    def thresholded(x: jax.Array, level: Level) -> Prediction:
        prediction = denoise(x, level)
        size = jnp.percentile(jnp.abs(prediction.x_0).reshape(x.shape[0], -1), percentile, axis=1)
        bound = expand(jnp.maximum(size, 1), x)
        return with_x_0(prediction, x, level, jnp.clip(prediction.x_0, -bound, bound) / bound)

    return thresholded


def known_pixels(denoise: Denoiser, image: jax.Array, mask: jax.Array) -> Denoiser:
    """Pastes what is known of the data into x_0, for inpainting with any model (Nichol et al., 2021, section 2.5).

    Args:
      denoise: any denoiser.
      image: [B, H, W, C], from -1 to 1.
      mask: [B, H, W, 1]: 1 where the image is known, 0 elsewhere.
    """

    def pasted(x: jax.Array, level: Level) -> Prediction:
        prediction = denoise(x, level)
        return with_x_0(prediction, x, level, mask * image + (1 - mask) * prediction.x_0)

    return pasted


def with_gradient(denoise: Denoiser, gradient: Gradient) -> Denoiser:
    """Adds `gradient` to the prediction's `grad`, where samplers find it."""

    def guided(x: jax.Array, level: Level) -> Prediction:
        prediction = denoise(x, level)
        pull = gradient(x, level)
        return prediction._replace(grad=pull if prediction.grad is None else prediction.grad + pull)

    return guided


def classifier_gradient(log_prob: Callable[[jax.Array, Level], jax.Array], scale: Scale) -> Gradient:
    """The gradient of log p(y | x_t) at x_t, times `scale` (Dhariwal & Nichol, 2021), by one backward pass.

    Args:
      log_prob: (x_t [B, ...], its level) -> log p(y_b | x_t,b) [B], of each example's own y.
      scale: 1 samples p(x | y); above 1, p(x) p(y | x)^scale, roughly.
    """

    def gradient(x: jax.Array, level: Level) -> jax.Array:
        return expand(jnp.asarray(scale, x.dtype), x) * jax.grad(lambda x: log_prob(x, level).sum())(x)

    return gradient
