"""Diffusion models as `Method`s."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from glowdiff.config.options import SampleOptions
from glowdiff.diffusion import timesteps
from glowdiff.diffusion.bound import bound
from glowdiff.diffusion.codec import Codec
from glowdiff.diffusion.conditions import Conditions
from glowdiff.diffusion.config import DiffusionConfig
from glowdiff.diffusion.guided import Network, guided
from glowdiff.diffusion.losses import Losses, losses
from glowdiff.diffusion.process import Process
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
    folded,
    image_keys,
)
from glowdiff.samplers import SAMPLERS
from glowdiff.samplers.ddim import invert
from glowdiff.samplers.levels import as_dtype, rows
from glowdiff.samplers.sampler import run
from glowdiff.spec import DataSpec

NOISE_STREAM = 2**30  # folded into an example's key for the noise of its steps, apart from that of its latents

# What decides the map from noise to image, for going back: the probability flow itself, not pulled towards [-1, 1].
INVERSE = {
    "sampler": "ddim", "final": "data", "eta": 0.0, "threshold": "none", "percentile": SampleOptions.percentile,
    "temperature": 1.0, "guidance_scale": None, "guidance_from": 0.0, "guidance_to": 1.0, "guidance_rescale": 0.0,
}  # fmt: skip


def diffusion_method(
    config: DiffusionConfig,
    network: Network,
    process: Process,
    codec: Codec,
    takes: tuple[Condition, ...],
    spec: DataSpec,
) -> Method:
    """The `Method` of a denoiser.

    `sample` runs the sampler that `SampleOptions` names; `encode` is DDIM's inversion; `bits_per_dim` is the
    variational bound over the steps of `options`, or over all timesteps. The history of the loss-second-moment
    timestep sampler is the collection `timesteps`.

    Args:
      config: the model.
      network: what predicts, see `Network`.
      process: how noise is added.
      codec: between images and what noise is added to.
      takes: what the network is told.
      spec: of the data.
    """
    dtype = network.dtype
    conditions = Conditions(takes, spec.levels, dtype)
    withhold = conditions.withhold if conditions.can_withhold else None
    training = as_dtype(process.training_grid(), dtype)
    gamma = config.min_snr_gamma if config.weighting == "min_snr" else None

    def init(key: jax.Array, batch: Batch) -> Variables:
        n = batch["image"].shape[0]
        x_0, t = jnp.zeros((n, *codec.shape), dtype), jnp.zeros(n, dtype)  # their values are no matter
        variables = network.init(key, x_0, t, conditions.of_batch(batch))
        if config.timestep_sampler == "loss_second_moment":
            return {**variables, "timesteps": timesteps.empty_history(process.timesteps)}
        return variables

    def loss(variables: Variables, key: jax.Array, batch: Batch) -> tuple[jax.Array, Aux]:
        t_key, noise_key, dropout_key, withheld_key = jax.random.split(key, 4)
        x_0 = codec.encode(variables, key, batch["image"])
        history, n = variables.get("timesteps"), x_0.shape[0]
        if history is None:
            t, weights = timesteps.uniform(t_key, n, process.timesteps)
        else:
            t, weights = timesteps.sample(t_key, n, history)
        noise = batch["noise"] if "noise" in batch else jax.random.normal(noise_key, x_0.shape, dtype)
        cond = conditions.drop(withheld_key, conditions.of_batch(batch, example_keys(key, n)))
        values = losses_at(variables, x_0, t, noise, cond, dropout_key)
        metrics = {name: value.mean() for name, value in (("mse", values.mse), ("vb", values.vb)) if value is not None}
        updates = {}
        if history is not None:
            updates["timesteps"] = timesteps.update(history, t, jax.lax.stop_gradient(values.total))
        return (weights * values.total).mean(), Aux(metrics, updates)

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
        x_0, keys = codec.encode(variables, key, batch["image"]), image_keys(key, batch)
        noise = jax.vmap(lambda k: jax.random.normal(k, x_0.shape[1:], dtype))(keys)
        t = timesteps.spread(batch["index"], process.timesteps)
        return {"loss": losses_at(variables, x_0, t, noise, conditions.of_batch(batch, keys), None).total}

    def latents(key: jax.Array, n: int) -> jax.Array:
        return jax.vmap(lambda k: jax.random.normal(k, codec.shape, dtype))(example_keys(key, n))

    def sample(variables: Variables, key: jax.Array, latents: jax.Array, cond: Cond, options: SampleOptions) -> Drawn:
        ready = conditions.prepare(cond, latents.shape[0])
        source = ready.pop("source", None)
        denoise = guided(network, process, variables, ready, options, withhold, cond)
        grid = process.grid(options.steps, options.spacing, options.strength, options.final)
        x = latents * options.temperature
        if source is not None:  # SDEdit (Meng et al., 2021): from the source with noise on it
            noisiest = as_dtype(jax.tree.map(lambda table: table[-1], grid.now), dtype)
            x = process.q_sample(source, noisiest, x)
        keys = folded(example_keys(key, latents.shape[0]), NOISE_STREAM)
        x, frames = run(SAMPLERS[options.sampler], denoise, x, grid, keys, eta=options.eta, frames=options.frames)
        if frames is None:
            return to_images(variables, x, cond)
        frames = frames.at[-1].set(x)  # it ends with the sample itself
        films = jax.vmap(lambda x: to_images(variables, x, cond))(frames)
        return Drawn(jnp.swapaxes(films.images, 0, 1), films.finite.all(0))

    def to_images(variables: Variables, x: jax.Array, cond: Cond) -> Drawn:
        """Integers; pixels that were known are what they were."""
        drawn = codec.decode(variables, x)
        if "known" not in cond:
            return drawn
        return drawn._replace(images=jnp.where(cond["known_mask"] > 0, cond["known"], drawn.images))

    def encode(variables: Variables, key: jax.Array, batch: Batch, options: SampleOptions) -> jax.Array:
        x_0 = codec.encode(variables, key, batch["image"])  # the flow from there to noise has no randomness
        cond = conditions.of_batch(batch)
        denoise = guided(network, process, variables, cond, options, withhold, batch["cond"])
        return invert(denoise, x_0, process.grid(options.steps, options.spacing))

    def bits_per_dim(
        variables: Variables, key: jax.Array, batch: Batch, options: SampleOptions | None = None
    ) -> jax.Array:
        x_0 = codec.encode(variables, key, batch["image"])
        grid = process.training_grid() if options is None else process.grid(options.steps, options.spacing)
        denoise = guided(network, process, variables, conditions.of_batch(batch), SampleOptions(), None, {})
        return bound(denoise, x_0, grid, image_keys(key, batch), levels=spec.levels).total

    draws = Draws(latents, sample, encode, options=config.options, inverse=INVERSE)
    return Method(init, loss, scores, bits_per_dim, takes, draws)
