"""From a network to the denoiser that samplers walk with: conditions, guidance, thresholds and guides in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from glowdiff.diffusion.process import Process
from glowdiff.method import SampleOptions, Variables
from glowdiff.samplers.guidance import (
    classifier_free,
    classifier_gradient,
    clip_x_0,
    dynamic_threshold,
    pairs,
    with_gradient,
)
from glowdiff.samplers.levels import Level
from glowdiff.samplers.prediction import Denoiser, Prediction


class Network(NamedTuple):
    """A denoising network as pure functions; t is what it is given, see `Process.network_time`."""

    init: Callable[..., Variables]  # (key, x_t, t [B], cond) -> variables
    apply: Callable[..., jax.Array]  # (variables, x_t, t [B], cond) -> output [B, H, W, C or 2 C]
    train: Callable[..., jax.Array]  # (variables, x_t, t [B], cond, dropout key) -> output
    dtype: Any  # of what comes in and out, at least float32


def denoiser(
    network: Network,
    process: Process,
    variables: Variables,
    cond: Mapping[str, jax.Array],
    options: SampleOptions,
    null_label: int | None,
    wanted: Mapping[str, jax.Array],
) -> Denoiser:
    """The network as a `Denoiser`, with all the guidance that the options ask for.

    The order is classifier-free guidance, threshold, then the gradients of guides, which see x_t and move the score or
    the mean behind the threshold.

    Args:
      network: evaluated once per step, with classifier-free guidance on a doubled batch.
      process: says what the network's output means.
      variables: of the network.
      cond: conditions as the network takes them, rows [B].
      options: see `SampleOptions`.
      null_label: the label that stands for none, for classifier-free guidance.
      wanted: conditions as the guides take them.
    """

    def plain(cond: Mapping[str, jax.Array]) -> Denoiser:
        def denoise(x_t: jax.Array, level: Level) -> Prediction:
            t = jnp.broadcast_to(process.network_time(level.t), x_t.shape[:1])
            return process.predict(network.apply(variables, x_t, t, cond), x_t, level)

        return denoise

    if options.guidance_scale is None:
        denoise = plain(cond)
    else:
        assert null_label is not None, "classifier-free guidance needs a null label"
        both = {name: pairs(value, value) for name, value in cond.items()}
        both["label"] = pairs(cond["label"], jnp.full_like(cond["label"], null_label))
        low, high = (share * (process.timesteps - 1) for share in options.guidance_interval)
        denoise = classifier_free(
            plain(both), options.guidance_scale, interval=(low, high), rescale=options.guidance_rescale
        )
    if options.threshold == "clip":
        denoise = clip_x_0(denoise)
    elif options.threshold == "dynamic":
        denoise = dynamic_threshold(denoise, options.percentile)
    for guide in options.guides:

        def log_prob(x_t: jax.Array, level: Level, guide: Any = guide) -> jax.Array:
            return guide.log_prob(guide.variables, x_t, jnp.broadcast_to(level.t, x_t.shape[:1]), wanted)

        denoise = with_gradient(denoise, classifier_gradient(log_prob, guide.scale))
    return denoise
