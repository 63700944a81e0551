"""What trains an autoencoder: its errors, and a discriminator's opinion (Esser et al., 2021; Rombach et al., 2022)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

_LARGEST = 1e4  # of the adaptive weight, before its factor
_EPSILON = 1e-4


def hinge(real: jax.Array, made: jax.Array) -> jax.Array:
    """The discriminator's loss of its logits, a scalar (Lim & Ye, 2017)."""
    return 0.5 * (jax.nn.relu(1 - real).mean() + jax.nn.relu(1 + made).mean())


def vanilla(real: jax.Array, made: jax.Array) -> jax.Array:
    """The discriminator's loss of its logits, a scalar (Goodfellow et al., 2014)."""
    return 0.5 * (jax.nn.softplus(-real).mean() + jax.nn.softplus(made).mean())


PIXELS: dict[str, Callable[[jax.Array], jax.Array]] = {"l1": jnp.abs, "l2": jnp.square}
ADVERSARIAL: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {"hinge": hinge, "vanilla": vanilla}


def reconstruction(error: jax.Array, distance: jax.Array | None, *, summed: bool) -> jax.Array:
    """The loss of reconstructions, a scalar.

    Args:
      error: of each number of an image, [B, H, W, C].
      distance: LPIPS, weighed, [B], which counts for every number of its image; None: there is none.
      summed: over an image, as KL autoencoders have it, so that 1e-6 of the divergence is as little as it looks; else
        averaged, as VQ autoencoders have it.
    """
    error = error if distance is None else error + distance[:, None, None, None]
    return error.sum() / error.shape[0] if summed else error.mean()


class Opinion(NamedTuple):
    """What the generator hears."""

    total: jax.Array  # its loss, but for the bottleneck's
    error: jax.Array  # of its reconstructions
    adversarial: jax.Array  # minus the mean logit of its images
    weight: jax.Array  # of that


def opinion(
    made: jax.Array,
    to_last_layer: Callable[[jax.Array], jax.Array],
    error: Callable[[jax.Array], jax.Array],
    logits: Callable[[jax.Array], jax.Array],
    weight: float,
    factor: jax.Array,
) -> Opinion:
    """The generator's loss: error + factor * w * adversarial (Esser et al., 2021, eq. 6 and 7).

    The adaptive weight w balances the two by the gradients at the decoder's last layer, weight * |gradient of error| /
    |gradient of adversarial|, and is itself a constant. Networks that judge are walked back through once: what they say
    of `made` serves the weight and all parameters behind.

    Args:
      made: images [B, H, W, C] from -1 to 1.
      to_last_layer: of a gradient at the images that of the last layer's kernel.
      error: of images, a scalar; see `reconstruction`.
      logits: of images, by the discriminator.
      weight: of the adaptive weight.
      factor: 0 until the discriminator begins, then 1.
    """
    value, to_error = jax.vjp(error, jax.lax.stop_gradient(made))
    adversarial, to_adversarial = jax.vjp(lambda y: -logits(y).mean(), jax.lax.stop_gradient(made))
    (of_error,), (of_adversarial,) = to_error(jnp.ones_like(value)), to_adversarial(jnp.ones_like(adversarial))
    norms = [optax.tree.norm(to_last_layer(gradient)) for gradient in (of_error, of_adversarial)]
    adaptive = weight * jnp.clip(norms[0] / (norms[1] + _EPSILON), 0, _LARGEST)
    share = jax.lax.stop_gradient(factor * adaptive)
    total = with_gradient(value + share * adversarial, made, of_error + share * of_adversarial)
    return Opinion(total, value, adversarial, adaptive)


def with_gradient(value: jax.Array, at: jax.Array, gradient: jax.Array) -> jax.Array:
    """A scalar with a given gradient at an array, and none elsewhere."""
    line = (jax.lax.stop_gradient(gradient) * at).sum()
    return jax.lax.stop_gradient(value - line) + line
