"""From a network to the denoiser that samplers walk with: conditions, guidance, thresholds and guides in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from glowdiff.config.options import SampleOptions
from glowdiff.diffusion.process import Process
from glowdiff.method import Variables
from glowdiff.samplers.guidance import (
    classifier_free,
    classifier_gradient,
    clip_x_0,
    dynamic_threshold,
    known_pixels,
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
    # (variables, cond) -> cond in which captions have been read, once for all steps
    read: Callable[..., Mapping[str, jax.Array]]


def guided(
    network: Network,
    process: Process,
    variables: Variables,
    cond: Mapping[str, jax.Array],
    options: SampleOptions,
    withhold: Callable[[Mapping[str, jax.Array], Mapping[str, jax.Array]], Mapping[str, jax.Array]] | None,
    given: Mapping[str, jax.Array],
) -> Denoiser:
    """The network as a `Denoiser`, with all the guidance that the options ask for.

    The order is classifier-free guidance, threshold, known pixels, then the gradients of guides, which see x_t and move
    the score or the mean behind the threshold.

    Args:
      network: evaluated once per step, with classifier-free guidance on a doubled batch.
      process: says what the network's output means.
      variables: of the network.
      cond: conditions as the network takes them, rows [B]. Where there are `known` pixels, they stay.
      options: see `SampleOptions`.
      withhold: takes label or caption out of conditions, for classifier-free guidance, or puts what is given instead.
      given: conditions as callers give them and the guides take them.
    """
    known = (cond["known"], cond["known_mask"]) if "known" in cond else None

    def plain(cond: Mapping[str, jax.Array]) -> Denoiser:
        cond = network.read(variables, cond)

        def denoise(x_t: jax.Array, level: Level) -> Prediction:
            t = jnp.broadcast_to(process.network_time(level.t), x_t.shape[:1])
            return process.predict(network.apply(variables, x_t, t, cond), x_t, level)

        return denoise

    if options.guidance_scale is None:
        denoise = plain(cond)
    else:
        assert withhold is not None, "classifier-free guidance needs a model that can do without its condition"
        free = withhold(cond, given)
        both = {name: pairs(value, free[name]) for name, value in cond.items()}
        low, high = (share * (process.timesteps - 1) for share in (options.guidance_from, options.guidance_to))
        denoise = classifier_free(
            plain(both), options.guidance_scale, interval=(low, high), rescale=options.guidance_rescale
        )
    if options.threshold == "clip":
        denoise = clip_x_0(denoise)
    elif options.threshold == "dynamic":
        denoise = dynamic_threshold(denoise, options.percentile)
    if known is not None:
        denoise = known_pixels(denoise, *known)
    for guide in options.guides:
        ready = guide.embed(guide.variables, given) if guide.embed else given

        def log_prob(x_t: jax.Array, level: Level, guide: Any = guide, ready: Any = ready) -> jax.Array:
            return guide.log_prob(guide.variables, x_t, jnp.broadcast_to(level.t, x_t.shape[:1]), ready)

        denoise = with_gradient(denoise, classifier_gradient(log_prob, guide.scale))
    return denoise
