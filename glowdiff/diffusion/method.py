"""Diffusion models as `Method`s."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from glowdiff.config.options import SampleOptions
from glowdiff.diffusion import timesteps
from glowdiff.diffusion.augmentation import augmentation
from glowdiff.diffusion.bound import bound
from glowdiff.diffusion.conditions import CODEC_STREAM, Conditions
from glowdiff.diffusion.config import DiffusionConfig
from glowdiff.diffusion.guided import Network, guided
from glowdiff.diffusion.losses import Losses, losses
from glowdiff.diffusion.process import Process
from glowdiff.method import (
    Aux,
    Batch,
    Codec,
    Cond,
    Condition,
    Drawn,
    Draws,
    Method,
    Variables,
    example_keys,
    folded,
    image_keys,
    size_of,
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
    variational bound over the steps of `options`, or over all timesteps; there is none in latents. The history of the
    loss-second-moment timestep sampler is the collection `timesteps`.

    Args:
      config: the model.
      network: what predicts, see `Network`.
      process: how noise is added.
      codec: between images and what noise is added to.
      takes: what the network is told.
      spec: of the data.
    """
    dtype = network.dtype
    augment = augmentation(process, config.noise_levels, dtype) if config.noise_levels else None
    conditions = Conditions(takes, spec.levels, dtype, codec, augment)
    withhold = conditions.withhold if conditions.can_withhold else None
    training = as_dtype(process.training_grid(), dtype)
    gamma = config.min_snr_gamma if config.weighting == "min_snr" else None

    def init(key: jax.Array, batch: Batch) -> Variables:
        n = size_of(batch)
        x_0, t = jnp.zeros((n, *codec.shape), dtype), jnp.zeros(n, dtype)  # their values are no matter
        variables = network.init(key, x_0, t, conditions.of_batch(batch))
        if config.timestep_sampler == "loss_second_moment":
            return {**variables, "timesteps": timesteps.empty_history(process.timesteps)}
        return variables

    def loss(variables: Variables, key: jax.Array, batch: Batch) -> tuple[jax.Array, Aux]:
        t_key, noise_key, dropout_key, withheld_key = jax.random.split(key, 4)
        keys = example_keys(key, size_of(batch))
        x_0 = encoded(variables, keys, batch)
        history, n = variables.get("timesteps"), x_0.shape[0]
        if history is None:
            t, weights = timesteps.uniform(t_key, n, process.timesteps)
        else:
            t, weights = timesteps.sample(t_key, n, history)
        noise = batch["noise"] if "noise" in batch else jax.random.normal(noise_key, x_0.shape, dtype)
        cond = conditions.drop(withheld_key, conditions.of_batch(batch, keys, variables))
        values = losses_at(variables, x_0, t, noise, cond, dropout_key)
        metrics = {name: value.mean() for name, value in (("mse", values.mse), ("vb", values.vb)) if value is not None}
        updates = {}
        if history is not None:
            updates["timesteps"] = timesteps.update(history, t, jax.lax.stop_gradient(values.total))
        return (weights * values.total).mean(), Aux(metrics, updates)

    def encoded(variables: Variables, keys: jax.Array, batch: Batch) -> jax.Array:
        """The x_0 of images, each drawn with its own key."""
        keys = folded(keys, CODEC_STREAM)
        if codec.draw is not None and "latents" in batch:
            return codec.draw(variables, keys, batch["latents"])
        return codec.encode(variables, keys, batch["image"])

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
        keys = image_keys(key, batch)
        x_0 = encoded(variables, keys, batch)
        noise = jax.vmap(lambda k: jax.random.normal(k, x_0.shape[1:], dtype))(keys)
        t = timesteps.spread(batch["index"], process.timesteps)
        return {"loss": losses_at(variables, x_0, t, noise, conditions.of_batch(batch, keys, variables), None).total}

    def latents(key: jax.Array, n: int) -> jax.Array:
        return jax.vmap(lambda k: jax.random.normal(k, codec.shape, dtype))(example_keys(key, n))

    def sample(variables: Variables, key: jax.Array, latents: jax.Array, cond: Cond, options: SampleOptions) -> Drawn:
        keys = example_keys(key, latents.shape[0])
        ready = conditions.prepare(cond, latents.shape[0], variables, keys)
        source = ready.pop("source", None)
        denoise = guided(network, process, variables, ready, options, withhold, cond)
        grid = process.grid(options.steps, options.spacing, options.strength, options.final)
        x = latents * options.temperature
        if source is not None:  # SDEdit (Meng et al., 2021): from the source with noise on it
            noisiest = as_dtype(jax.tree.map(lambda table: table[-1], grid.now), dtype)
            x = process.q_sample(source, noisiest, x)
        streams = folded(keys, NOISE_STREAM)
        x, frames = run(SAMPLERS[options.sampler], denoise, x, grid, streams, eta=options.eta, frames=options.frames)
        if frames is None:
            return to_images(variables, x, cond)
        frames = frames.at[-1].set(x)  # it ends with the sample itself
        films = jax.lax.map(lambda x: to_images(variables, x, cond), frames)  # decoders take memory
        return Drawn(jnp.swapaxes(films.images, 0, 1), films.finite.all(0))

    def to_images(variables: Variables, x: jax.Array, cond: Cond) -> Drawn:
        """Integers; pixels that were known are what they were."""
        drawn = codec.decode(variables, x)
        if "known" not in cond:
            return drawn
        return drawn._replace(images=jnp.where(cond["known_mask"] > 0, cond["known"], drawn.images))

    def encode(variables: Variables, key: jax.Array, batch: Batch, options: SampleOptions) -> jax.Array:
        x_0 = codec.encode(variables, None, batch["image"])  # the flow from there to noise has no randomness
        cond = conditions.of_batch(batch, variables=variables)
        denoise = guided(network, process, variables, cond, options, withhold, batch["cond"])
        return invert(denoise, x_0, process.grid(options.steps, options.spacing))

    def bits_per_dim(
        variables: Variables, key: jax.Array, batch: Batch, options: SampleOptions | None = None
    ) -> jax.Array:
        x_0 = codec.encode(variables, None, batch["image"])
        grid = process.training_grid() if options is None else process.grid(options.steps, options.spacing)
        denoise = guided(
            network, process, variables, conditions.of_batch(batch, variables=variables), SampleOptions(), None, {}
        )
        return bound(denoise, x_0, grid, image_keys(key, batch), levels=spec.levels).total

    draws = Draws(latents, sample, encode, options=config.options, inverse=INVERSE)
    bits = bits_per_dim if codec.bounded else None  # a density of latents says nothing of pixels
    # Who works in latents takes the autoencoder itself: `draw` is not handed on.
    return Method(init, loss, scores, bits, takes, draws, codec=codec._replace(draw=None))
