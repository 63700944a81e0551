"""Diffusion models as `Method`s."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from glowdiff.config.sections import SamplingConfig
from glowdiff.diffusion import timesteps
from glowdiff.diffusion.bound import bound
from glowdiff.diffusion.conditions import Conditions, erase_keys
from glowdiff.diffusion.config import DiffusionConfig
from glowdiff.diffusion.denoise import Network, denoiser
from glowdiff.diffusion.losses import Losses, losses
from glowdiff.diffusion.process import Process
from glowdiff.diffusion.scaling import to_levels, to_unit
from glowdiff.method import Aux, Batch, Cond, Method, SampleOptions, Variables, example_keys, folded, image_keys
from glowdiff.samplers import SAMPLERS
from glowdiff.samplers.ddim import invert
from glowdiff.samplers.levels import as_dtype, expand, rows
from glowdiff.samplers.sampler import run
from glowdiff.spec import DataSpec

NOISE_STREAM = 2**30  # folded into an example's key for the noise of its steps, apart from that of its latents

# What decides the map from noise to image, for going back: the probability flow itself, not pulled towards [-1, 1].
INVERSE = {
    "sampler": "ddim", "eta": 0.0, "threshold": "none", "percentile": SamplingConfig.percentile, "temperature": 1.0,
    "guidance_scale": None,
}  # fmt: skip


def diffusion_method(config: DiffusionConfig, network: Network, process: Process, spec: DataSpec) -> Method:
    """The `Method` of a denoiser.

    `sample` runs the sampler that `SampleOptions` names; `encode` is DDIM's inversion; `bits_per_dim` is the
    variational bound over the steps of `options`, or over all timesteps. The history of the loss-second-moment
    timestep sampler is the collection `timesteps`.

    Args:
      config: the model.
      network: what predicts, see `Network`.
      process: how noise is added.
      spec: of the data.
    """
    dtype = network.dtype
    conditions = Conditions(config, spec, dtype)
    prepare, withhold, dropout = conditions.prepare, conditions.withhold, conditions.dropout
    training = as_dtype(process.training_grid(), dtype)
    gamma = config.min_snr_gamma if config.weighting == "min_snr" else None

    def scaled(image: jax.Array) -> jax.Array:
        return to_unit(image, spec.levels, dtype)

    def init(key: jax.Array, batch: Batch) -> Variables:
        x_0 = scaled(batch["image"])
        variables = network.init(key, x_0, jnp.zeros(x_0.shape[0], dtype), prepare(batch["cond"], len(x_0), x_0))
        if config.timestep_sampler == "loss_second_moment":
            return {**variables, "timesteps": timesteps.empty_history(config.timesteps)}
        return variables

    def loss(variables: Variables, key: jax.Array, batch: Batch) -> tuple[jax.Array, Aux]:
        t_key, noise_key, dropout_key, label_key = jax.random.split(key, 4)
        x_0 = scaled(batch["image"])
        history, n = variables.get("timesteps"), x_0.shape[0]
        if history is None:
            t, weights = timesteps.uniform(t_key, n, config.timesteps)
        else:
            t, weights = timesteps.sample(t_key, n, history)
        noise = batch["noise"] if "noise" in batch else jax.random.normal(noise_key, x_0.shape, dtype)
        cond = prepare(batch["cond"], n, x_0, erase_keys(example_keys(key, n)))
        if dropout:
            withheld = jax.random.bernoulli(label_key, dropout, (n,))
            cond = jax.tree.map(lambda free, c: jnp.where(expand(withheld, c), free, c), withhold(cond), cond)
        found = losses_at(variables, x_0, t, noise, cond, dropout_key)
        metrics = {name: value.mean() for name, value in (("mse", found.mse), ("vb", found.vb)) if value is not None}
        updates = {}
        if history is not None:
            updates["timesteps"] = timesteps.update(history, t, jax.lax.stop_gradient(found.total))
        return (weights * found.total).mean(), Aux(metrics, updates)

    def losses_at(
        variables: Variables, x_0: jax.Array, t: jax.Array, noise: jax.Array, cond: Cond, dropout_key: jax.Array | None
    ) -> Losses:
        """The losses at timesteps t [B]; without a key the network drops nothing out."""
        step = rows(training, t)
        x_t, network_t = process.q_sample(x_0, step.now, noise), process.network_time(step.now.t)
        if dropout_key is None:
            output = network.apply(variables, x_t, network_t, cond)
        else:
            output = network.train(variables, x_t, network_t, cond, dropout_key)
        return losses(process, config.loss, output, x_0, noise, step, levels=spec.levels, gamma=gamma)

    def scores(variables: Variables, key: jax.Array, batch: Batch) -> dict[str, jax.Array]:
        """The loss of each image at a timestep and with noise that depend on its index alone."""
        x_0, keys = scaled(batch["image"]), image_keys(key, batch)
        noise = jax.vmap(lambda k: jax.random.normal(k, x_0.shape[1:], dtype))(keys)
        t = timesteps.spread(batch["index"], config.timesteps)
        cond = prepare(batch["cond"], len(x_0), x_0, erase_keys(keys))
        return {"loss": losses_at(variables, x_0, t, noise, cond, None).total}

    def latents(key: jax.Array, n: int) -> jax.Array:
        return jax.vmap(lambda k: jax.random.normal(k, spec.shape, dtype))(example_keys(key, n))

    def walk(
        variables: Variables, key: jax.Array, latents: jax.Array, cond: Cond, options: SampleOptions, frames: int
    ) -> tuple[jax.Array, jax.Array | None]:
        ready = prepare(cond, latents.shape[0])
        denoise = denoiser(network, process, variables, ready, options, withhold if dropout else None, cond)
        grid, x = process.grid(options.steps, options.spacing, options.strength), latents * options.temperature
        if "source" in cond:  # SDEdit (Meng et al., 2021): from the source with noise on it
            noisiest = as_dtype(jax.tree.map(lambda table: table[-1], grid.now), dtype)
            x = process.q_sample(scaled(cond["source"]), noisiest, x)
        noise_keys = folded(example_keys(key, latents.shape[0]), NOISE_STREAM)
        return run(SAMPLERS[options.sampler], denoise, x, grid, noise_keys, eta=options.eta, frames=frames)

    def to_images(x: jax.Array, cond: Cond) -> jax.Array:
        """Integers; pixels that were known are what they were."""
        images = to_levels(x, spec.levels)
        return jnp.where(cond["known_mask"] > 0, cond["known"], images) if "known" in cond else images

    def sample(variables: Variables, key: jax.Array, latents: Any, cond: Cond, options: SampleOptions) -> jax.Array:
        return to_images(walk(variables, key, latents, cond, options, frames=0)[0], cond)

    def film(variables: Variables, key: jax.Array, latents: Any, cond: Cond, options: SampleOptions) -> jax.Array:
        x, frames = walk(variables, key, latents, cond, options, frames=options.frames)
        assert frames is not None
        frames = frames.at[-1].set(x)  # it ends with the sample itself
        return jnp.swapaxes(jax.vmap(lambda x: to_images(x, cond))(frames), 0, 1)

    def encode(variables: Variables, key: jax.Array, batch: Batch, options: SampleOptions) -> jax.Array:
        del key  # the flow from data to noise has no randomness
        x_0 = scaled(batch["image"])
        cond = prepare(batch["cond"], len(x_0), x_0)
        denoise = denoiser(network, process, variables, cond, options, withhold if dropout else None, batch["cond"])
        return invert(denoise, x_0, process.grid(options.steps, options.spacing))

    def bits_per_dim(
        variables: Variables, key: jax.Array, batch: Batch, options: SampleOptions | None = None
    ) -> jax.Array:
        x_0 = scaled(batch["image"])
        grid = process.training_grid() if options is None else process.grid(options.steps, options.spacing)
        cond = prepare(batch["cond"], len(x_0), x_0)
        denoise = denoiser(network, process, variables, cond, SampleOptions(), None, {})
        return bound(denoise, x_0, grid, image_keys(key, batch), levels=spec.levels).total

    return Method(
        init,
        loss,
        latents,
        sample,
        encode,
        bits_per_dim,
        labels=conditions.classes,
        null_label=config.label_dropout > 0,
        options=(*config.sampling_keys, "guides", "strength"),
        inverse=INVERSE,
        film=film,
        conditions=conditions.of_images if conditions.needed else None,
        scores=scores,
        context=config.context,
        inputs=network.inputs,
    )
