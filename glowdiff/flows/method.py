"""Flows as `Method`s."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, cast

import jax
import jax.numpy as jnp
import optax

from glowdiff.config.options import SampleOptions
from glowdiff.flows import base, dequantization
from glowdiff.flows.encoding import Encoded, Latents
from glowdiff.method import (
    Aux,
    Batch,
    Cond,
    Condition,
    Drawn,
    Draws,
    Method,
    Variables,
    example_keys,
    finite_rows,
    image_keys,
)
from glowdiff.networks.shards import arrays

MOVING = 0.1  # share of the newest batch in moving statistics (RealNVP's decay)


class Flow(Protocol):
    """A module that is a flow: Glow, RealNVP, NICE."""

    prior: str  # density of the latents, see `base`
    classes: int  # that shift it; 0: none
    bins: int
    coarsen: int
    param_dtype: Any
    init: Callable[..., Any]
    apply: Callable[..., Any]
    encode: Callable[..., Encoded]
    decode: Callable[..., jax.Array]

    def latent_shapes(self, shape: tuple[int, int, int]) -> tuple[tuple[int, int, int], ...]:
        """Shapes of the latents of one image."""
        ...


def flow_method(
    module: Flow,
    shape: tuple[int, int, int],
    *,
    class_weight: float = 0.0,
    takes: tuple[Condition, ...] = (),
    penalty: Callable[[Any], jax.Array] | None = None,
) -> Method:
    """The `Method` of a flow.

    The loss is the mean of bits per dimension, plus `class_weight` times the cross-entropy of the module's classifier
    in bits, plus the penalty. Where the module keeps batch statistics, the loss is that of the batch's own, and
    `Aux.updates` are the moving ones, which all else uses.

    Args:
      module: the flow.
      shape: height, width and channels of its images.
      class_weight: of the classifier, if the module has one.
      takes: the row of labels, if the module looks at them.
      penalty: of the parameters.
    """
    dtype, bins = module.param_dtype, module.bins

    def encode_with(variables: Variables, batch: Batch, noise: jax.Array) -> Encoded:
        return cast(Encoded, module.apply(variables, batch["image"], noise, batch["cond"], method=module.encode))

    def encode_in_training(variables: Variables, batch: Batch, noise: jax.Array) -> tuple[Encoded, dict[str, Any]]:
        if "batch_stats" not in variables:
            return encode_with(variables, batch, noise), {}
        encoded, new = module.apply(
            variables, batch["image"], noise, batch["cond"], train=True, method=module.encode, mutable=["batch_stats"]
        )
        return encoded, {"batch_stats": jax.tree.map(_moved, variables["batch_stats"], new["batch_stats"])}

    def training_noise(key: jax.Array, batch: Batch) -> jax.Array:
        return batch["noise"] if "noise" in batch else jax.random.uniform(key, batch["image"].shape, dtype) / bins

    def example_noise(key: jax.Array, batch: Batch) -> jax.Array:
        """Noise that depends on an image's index alone, not on the batch it comes in."""
        if "noise" in batch:
            return batch["noise"]
        return jax.vmap(lambda k: jax.random.uniform(k, shape, dtype))(image_keys(key, batch)) / bins

    def init(key: jax.Array, batch: Batch) -> Variables:
        params_key, noise_key = jax.random.split(key)
        noise = training_noise(noise_key, batch)
        return module.init(params_key, batch["image"], noise, batch["cond"], method=module.encode)

    def loss(variables: Variables, key: jax.Array, batch: Batch) -> tuple[jax.Array, Aux]:
        noise = training_noise(key, batch)
        encoded, updates = encode_in_training(variables, batch, noise)
        bits = encoded.bits_per_dim.mean()
        metrics = {"bits_per_dim": bits}
        total = bits if penalty is None else bits + penalty(arrays(variables["params"]))
        if encoded.class_logits is not None:
            label = batch["cond"]["label"]
            nats = optax.softmax_cross_entropy_with_integer_labels(encoded.class_logits, label).mean()
            total += class_weight * nats / math.log(2)
            metrics["class_accuracy"] = (encoded.class_logits.argmax(-1) == label).mean()
        return total, Aux(metrics, updates)

    def latents(key: jax.Array, n: int) -> Latents:
        def one(key: jax.Array) -> Latents:
            return tuple(
                base.draw(module.prior, jax.random.fold_in(key, level), latent, dtype)
                for level, latent in enumerate(module.latent_shapes(shape))
            )

        return jax.vmap(one)(example_keys(key, n))

    def decode_with(variables: Variables, latents: Latents, cond: Cond) -> jax.Array:
        return cast(jax.Array, module.apply(variables, latents, cond, method=module.decode))

    def sample(variables: Variables, key: jax.Array, latents: Latents, cond: Cond, options: SampleOptions) -> Drawn:
        del key  # a flow's samples are a function of their latents
        latents = jax.tree.map(lambda eps: eps * options.temperature, latents)
        y = decode_with(variables, latents, cond)
        return Drawn(dequantization.quantize(y, bins, module.coarsen), finite_rows(y))

    def unrounded(variables: Variables, latents: Latents, cond: Cond) -> jax.Array:
        return dequantization.levels_of(decode_with(variables, latents, cond), bins, module.coarsen)

    def encode(variables: Variables, key: jax.Array, batch: Batch, options: SampleOptions) -> Latents:
        # The middle of each bin is the image that survives a round trip: noise near a bin's edge would not.
        del key, options
        middle = jnp.full(batch["image"].shape, 0.5 / bins, dtype)
        noise = batch.get("noise", middle)
        return encode_with(variables, batch, noise).latents

    def bits_per_dim(variables: Variables, key: jax.Array, batch: Batch) -> jax.Array:
        noise = example_noise(key, batch)
        return encode_with(variables, batch, noise).bits_per_dim

    draws = Draws(latents, sample, encode, unrounded=unrounded, coarsen=module.coarsen)
    return Method(init, loss, bits_per_dim=bits_per_dim, takes=takes, draws=draws)


def _moved(average: jax.Array, newest: jax.Array) -> jax.Array:
    """A moving average, after the statistics of another batch."""
    return average + MOVING * (jax.lax.stop_gradient(newest) - average)
