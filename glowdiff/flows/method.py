"""Glow as a `Method`."""

from __future__ import annotations

import math
import os
from typing import cast

import jax
import jax.numpy as jnp
import optax
from absl import logging

from glowdiff.data.spec import DataSpec
from glowdiff.flows import dequantization
from glowdiff.flows.config import GlowConfig
from glowdiff.flows.glow import Encoded, Glow
from glowdiff.flows.glow import Latents as GlowLatents
from glowdiff.method import Aux, Batch, Cond, Method, SampleOptions, Variables, example_keys

# Steps per turn of the scan, where the configuration leaves it open. On the CPU a training step with any loop left in
# it runs two to three times slower than one without (benchmarks/unroll.py), so there all steps are unrolled, whatever
# the depth. Accelerators lose nothing to the loop and compile faster with it.
DEFAULT_UNROLL = {"cpu": 1_000}


# Up to this many channels XLA's LAPACK calls are safe with two threads (jax 0.10): see `_warn_of_few_threads`.
SAFE_CHANNELS = 96


def _warn_of_few_threads(channels: int) -> None:
    """Say that XLA may hang: on the CPU, two batched decompositions of large matrices wait for each other's threads."""
    threads = int(os.environ.get("NPROC") or os.cpu_count() or 1)
    if channels > SAFE_CHANNELS and threads < 4 and jax.default_backend() == "cpu":
        logging.warning(
            "The 1x1 convolutions reach %d channels. With %d threads XLA may wait for ever in decomposing matrices of "
            "that size; set the environment variable NPROC=4.",
            channels,
            threads,
        )


def glow_module(config: GlowConfig, spec: DataSpec, dtype: str) -> Glow:
    """The module of a configuration."""
    if config.permutation == "conv":
        _warn_of_few_threads(spec.shape[-1] * 2 ** (config.levels + 1))
    n_bits = config.n_bits or 8
    coarsen = 2 ** (8 - n_bits) if spec.levels == 256 else 1
    return Glow(
        levels=config.levels,
        depth=config.depth,
        width=config.width,
        permutation=config.permutation,
        lu=config.lu,
        coupling=config.coupling,
        learn_top=config.learn_top,
        classes=len(spec.classes) if config.class_conditional else 0,
        bins=spec.levels // coarsen,
        coarsen=coarsen,
        unroll=config.unroll or DEFAULT_UNROLL.get(jax.default_backend(), 1),
        memory=config.memory,
        dtype=jnp.dtype(dtype),
        param_dtype=jnp.promote_types(dtype, jnp.float32),
    )


def glow_method(config: GlowConfig, spec: DataSpec, dtype: str) -> Method:
    """Glow's `Method` for images of `spec`.

    The loss is the mean of bits per dimension (Glow, equation 2) plus, if class-conditional, `class_weight` times the
    classifier's cross-entropy in bits.
    """
    return flow_method(glow_module(config, spec, dtype), spec.shape, config.class_weight)


def flow_method(module: Glow, shape: tuple[int, int, int], class_weight: float = 0.0) -> Method:
    """The `Method` of a module with `encode`, `decode` and `latent_shapes`, on images of `shape` (H, W, C)."""
    dtype, bins = module.param_dtype, module.bins

    def encode_with(variables: Variables, batch: Batch, noise: jax.Array) -> Encoded:
        return cast(Encoded, module.apply(variables, batch["image"], noise, batch["cond"], method=module.encode))

    def training_noise(key: jax.Array, batch: Batch) -> jax.Array:
        return batch["noise"] if "noise" in batch else jax.random.uniform(key, batch["image"].shape, dtype) / bins

    def example_noise(key: jax.Array, batch: Batch) -> jax.Array:
        """Noise that depends on an image's index alone, not on the batch it comes in."""
        if "noise" in batch:
            return batch["noise"]
        indices = batch["index"] if "index" in batch else jnp.arange(batch["image"].shape[0])
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(indices)
        return jax.vmap(lambda k: jax.random.uniform(k, shape, dtype))(keys) / bins

    def init(key: jax.Array, batch: Batch) -> Variables:
        params_key, noise_key = jax.random.split(key)
        noise = training_noise(noise_key, batch)
        return module.init(params_key, batch["image"], noise, batch["cond"], method=module.encode)

    def loss(variables: Variables, key: jax.Array, batch: Batch) -> tuple[jax.Array, Aux]:
        noise = training_noise(key, batch)
        encoded = encode_with(variables, batch, noise)
        bits = encoded.bits_per_dim.mean()
        metrics = {"bits_per_dim": bits}
        total = bits
        if encoded.class_logits is not None:
            label = batch["cond"]["label"]
            nats = optax.softmax_cross_entropy_with_integer_labels(encoded.class_logits, label).mean()
            total = bits + class_weight * nats / math.log(2)
            metrics["class_accuracy"] = (encoded.class_logits.argmax(-1) == label).mean()
        return total, Aux(metrics, {})

    def latents(key: jax.Array, n: int) -> GlowLatents:
        def one(key: jax.Array) -> GlowLatents:
            return tuple(
                jax.random.normal(jax.random.fold_in(key, level), latent, dtype)
                for level, latent in enumerate(module.latent_shapes(shape))
            )

        return jax.vmap(one)(example_keys(key, n))

    def sample(
        variables: Variables, key: jax.Array, latents: GlowLatents, cond: Cond, options: SampleOptions
    ) -> jax.Array:
        del key  # a flow's samples are a function of their latents
        latents = jax.tree.map(lambda eps: eps * options.temperature, latents)
        images = cast(jax.Array, module.apply(variables, latents, cond, method=module.decode))
        return dequantization.quantize(images, bins, module.coarsen)

    def encode(variables: Variables, key: jax.Array, batch: Batch, options: SampleOptions) -> GlowLatents:
        # The middle of each bin is the image that survives a round trip: noise near a bin's edge would not.
        del key, options
        middle = jnp.full(batch["image"].shape, 0.5 / bins, dtype)
        noise = batch.get("noise", middle)
        return encode_with(variables, batch, noise).latents

    def bits_per_dim(variables: Variables, key: jax.Array, batch: Batch) -> jax.Array:
        noise = example_noise(key, batch)
        return encode_with(variables, batch, noise).bits_per_dim

    def diagnostics(variables: Variables) -> dict[str, jax.Array]:
        """The worst condition number of the 1x1 convolutions: what inverting them multiplies rounding errors by."""
        image = jnp.zeros((1, *shape), jnp.uint8)
        cond = {"label": jnp.zeros(1, jnp.int32)}
        noise = jnp.zeros(image.shape, dtype)
        _, seen = module.apply(variables, image, noise, cond, method=module.encode, mutable=["intermediates"])
        matrices = [leaf for leaf in jax.tree.leaves(seen) if leaf.ndim == 3]
        if not matrices:
            return {}
        return {"condition_number": jnp.max(jnp.stack([jnp.linalg.cond(w).max() for w in matrices]))}

    return Method(init, loss, latents, sample, encode, bits_per_dim, diagnostics, labels=module.classes)
