"""Classifiers of noised images as `Method`s: they draw nothing, they guide."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from glowdiff.diffusion.guided import Network
from glowdiff.diffusion.process import Process
from glowdiff.diffusion.timesteps import spread
from glowdiff.method import Aux, Batch, Codec, Cond, Guides, Method, Variables, image_keys, label_row
from glowdiff.samplers.levels import as_dtype, rows
from glowdiff.spec import DataSpec


def classifier_method(network: Network, process: Process, codec: Codec, spec: DataSpec) -> Method:
    """The `Method` of a classifier p(y | x_t), trained at uniform timesteps (Dhariwal & Nichol, 2021, section 4).

    Its loss is the cross-entropy in nats. Its scores are that and the accuracy on images noised at all timesteps
    evenly, and the accuracy at the first timestep, which leaves them almost clean.

    Args:
      network: gives logits [B, classes].
      process: how noise is added; that of the diffusion models it shall guide.
      codec: between images and what noise is added to, likewise.
      spec: of the data, with classes.
    """
    dtype = network.dtype
    levels = as_dtype(process.training_grid().now, dtype)

    def logits_at(variables: Variables, x_0: jax.Array, t: jax.Array, noise: jax.Array) -> jax.Array:
        level = rows(levels, t)
        x_t = process.q_sample(x_0, level, noise)
        return network.apply(variables, x_t, process.network_time(level.t), {})

    def init(key: jax.Array, batch: Batch) -> Variables:
        x_0 = codec.encode({}, key, batch["image"])
        return network.init(key, x_0, jnp.zeros(x_0.shape[0], dtype), {})

    def loss(variables: Variables, key: jax.Array, batch: Batch) -> tuple[jax.Array, Aux]:
        t_key, noise_key, dropout_key = jax.random.split(key, 3)
        x_0, label = codec.encode(variables, key, batch["image"]), batch["cond"]["label"]
        level = rows(levels, jax.random.randint(t_key, label.shape, 0, process.timesteps))
        noise = batch["noise"] if "noise" in batch else jax.random.normal(noise_key, x_0.shape, dtype)
        x_t = process.q_sample(x_0, level, noise)
        logits = network.train(variables, x_t, process.network_time(level.t), {}, dropout_key)
        nats = optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()
        return nats, Aux({"accuracy": (logits.argmax(-1) == label).mean()}, {})

    def scores(variables: Variables, key: jax.Array, batch: Batch) -> dict[str, jax.Array]:
        x_0, label = codec.encode(variables, key, batch["image"]), batch["cond"]["label"]
        t = spread(batch["index"], process.timesteps)
        noise = jax.vmap(lambda k: jax.random.normal(k, x_0.shape[1:], dtype))(image_keys(key, batch))
        logits, clean = (logits_at(variables, x_0, at, noise) for at in (t, jnp.zeros_like(t)))
        return {
            "loss": optax.softmax_cross_entropy_with_integer_labels(logits, label),
            "accuracy": logits.argmax(-1) == label,
            "accuracy_clean": clean.argmax(-1) == label,
        }

    def log_prob(variables: Variables, x_t: jax.Array, t: jax.Array, cond: Cond) -> jax.Array:
        logits = network.apply(variables, x_t, process.network_time(t), {})
        return -optax.softmax_cross_entropy_with_integer_labels(logits, cond["label"])

    return Method(init, loss, scores, takes=(label_row(spec),), guides=Guides(log_prob))
