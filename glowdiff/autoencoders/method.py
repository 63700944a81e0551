"""Autoencoders as `Method`s: trained with their discriminator in one step, and the codec of other models."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from glowdiff.autoencoders.config import AutoencoderConfig
from glowdiff.autoencoders.losses import ADVERSARIAL, PIXELS, opinion, reconstruction
from glowdiff.autoencoders.statistics import moved, no_statistics, unit_scale
from glowdiff.config.options import SampleOptions
from glowdiff.diffusion.scaling import to_levels, to_unit
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
    finite_rows,
)
from glowdiff.networks.autoencoder import Decoded, last_layer_gradient
from glowdiff.networks.bottleneck import (
    codebook_loss,
    deviation,
    gaussian,
    kl_to_normal,
    nearest,
    straight_through,
)
from glowdiff.spec import DataSpec

STATISTICS = "latents"  # the collection of `LatentStatistics`
_LEAST_ERROR = 1 / 12  # mean square of rounding to levels: no reconstruction counts as better


class Coder(NamedTuple):
    """The module `glowdiff.networks.autoencoder.Autoencoder` as pure functions of its parameters."""

    init: Callable[[jax.Array, jax.Array], Any]  # (key, images) -> parameters
    encode: Callable[[Any, jax.Array], jax.Array]  # (parameters, images) -> moments, or latents
    decode: Callable[[Any, jax.Array], Decoded]  # (parameters, latents) -> images, and the features behind them
    codebook: Callable[[Any], jax.Array]  # (parameters) -> its rows
    dtype: Any  # of what comes in and out, at least float32


class Discriminator(NamedTuple):
    """The module `glowdiff.networks.discriminator.PatchDiscriminator` as pure functions, in training."""

    init: Callable[[jax.Array, jax.Array], Variables]  # (key, images) -> params and batch_stats
    # (params, batch_stats, images) -> logits, batch_stats
    judge: Callable[[Any, Any, jax.Array], tuple[jax.Array, Any]]


def autoencoder_method(
    config: AutoencoderConfig,
    coder: Coder,
    discriminator: Discriminator | None,
    distance: Callable[[Variables, jax.Array, jax.Array], jax.Array] | None,
    spec: DataSpec,
) -> Method:
    """The `Method` of an autoencoder.

    The loss is that of reconstructions, plus the bottleneck's, plus from `discriminator_start` on what the
    discriminator thinks of them, plus the discriminator's own; gradients of one's never reach the other. Both see the
    same reconstructions, before either has moved. Steps are counted in the collection `progress`, the discriminator's
    moving statistics are in `batch_stats`, and those of the latents, which say at what scale other models work in them,
    in `latents`.

    Samples are images of latents that are drawn, or reconstructions of `original` images; scores are the PSNR in dB of
    rounded images, their mean absolute error on the scale from -1 to 1, and LPIPS where there is one.

    Args:
      config: the model.
      coder: its halves.
      discriminator: None: there is none.
      distance: LPIPS, (its variables, images, images) -> [B]; None: there is none.
      spec: of the data.
    """
    dtype, bottleneck = coder.dtype, config.bottleneck
    summed = bottleneck.moments == 2
    shape = config.network.latent_shape(*spec.shape[:2], bottleneck.channels)

    def scaled(images: jax.Array) -> jax.Array:
        return to_unit(jnp.asarray(images), spec.levels, dtype)

    # ---- Training.

    def init(key: jax.Array, batch: Batch) -> Variables:
        coder_key, discriminator_key = jax.random.split(key)
        x = jnp.zeros((1, *spec.shape), dtype)  # its values are no matter
        params = {"autoencoder": coder.init(coder_key, x)}
        variables: dict[str, Any] = {"params": params, STATISTICS: no_statistics(dtype)}
        if discriminator is not None:
            made = discriminator.init(discriminator_key, x)
            params["discriminator"] = made["params"]
            variables |= {"batch_stats": made["batch_stats"], "progress": {"steps": jnp.zeros((), jnp.int32)}}
        return variables

    def loss(variables: Variables, key: jax.Array, batch: Batch) -> tuple[jax.Array, Aux]:
        x, params = scaled(batch["image"]), variables["params"]["autoencoder"]
        posterior = coder.encode(params, x)
        z = latents_of(posterior, example_keys(key, x.shape[0]))
        penalty, used, metrics = pressed(params, posterior, z)
        decoded = coder.decode(params, used)
        updates = {STATISTICS: moved(variables[STATISTICS], z)}

        def error(made: jax.Array) -> jax.Array:
            looks = None
            if distance is not None:
                looks = config.perceptual_weight * distance(variables["frozen"]["perceptual"], x, made)
            return reconstruction(PIXELS[config.pixel_loss](x - made), looks, summed=summed)

        if discriminator is None:
            value = error(decoded.image)
            total, judged = value, {}
        else:
            total, judged, more = adversarial(variables, x, decoded, error)
            value, updates = judged.pop("error"), updates | more
        metrics |= judged | {"reconstruction": value, "l1": jnp.abs(x - decoded.image).mean()}
        return total + bottleneck.weight * penalty, Aux(metrics, updates)

    def latents_of(posterior: jax.Array, keys: jax.Array | None) -> jax.Array:
        """Latents of what the encoder says, before they are scaled; without keys their means."""
        if bottleneck.moments == 1:
            return posterior
        mean, log_variance = gaussian(posterior)
        if keys is None:
            return mean
        noise = jax.vmap(lambda key: jax.random.normal(key, mean.shape[1:], mean.dtype))(keys)
        return mean + deviation(log_variance) * noise

    def pressed(params: Any, posterior: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
        """The bottleneck's loss, the latents that the decoder is given, and metrics."""
        if bottleneck.moments == 2:
            nats = kl_to_normal(*gaussian(posterior)).mean()
            return nats, z, {"kl": nats}
        quantized, codes = nearest(coder.codebook(params), z)
        penalty = codebook_loss(z, quantized)
        seen = jnp.zeros(bottleneck.codes, jnp.int32).at[codes.reshape(-1)].set(1)
        return penalty, straight_through(z, quantized), {"codebook": penalty, "codes_used": seen.mean(dtype=dtype)}

    def adversarial(
        variables: Variables, x: jax.Array, decoded: Decoded, error: Callable[[jax.Array], jax.Array]
    ) -> tuple[jax.Array, dict[str, jax.Array], dict[str, Any]]:
        """The losses of both players, metrics, and new statistics of the discriminator."""
        assert discriminator is not None
        params, statistics = variables["params"], variables["batch_stats"]
        judge, stop = discriminator.judge, jax.lax.stop_gradient
        steps = variables["progress"]["steps"]
        factor = (steps >= config.discriminator_start).astype(dtype)
        heard = opinion(
            decoded.image,
            partial(last_layer_gradient, stop(decoded.features)),
            error,
            lambda made: judge(stop(params["discriminator"]), statistics, made)[0],
            config.discriminator_weight,
            factor,
        )
        of_real, statistics = judge(params["discriminator"], statistics, x)
        of_made, statistics = judge(params["discriminator"], statistics, stop(decoded.image))
        discriminating = factor * ADVERSARIAL[config.discriminator_loss](of_real, of_made)
        metrics = {
            "error": heard.error, "adversarial": heard.adversarial, "adaptive_weight": heard.weight,
            "discriminator": discriminating, "logits_real": of_real.mean(), "logits_made": of_made.mean(),
        }  # fmt: skip
        updates = {"batch_stats": stop(statistics), "progress": {"steps": steps + 1}}
        return heard.total + discriminating, metrics, updates

    # ---- There and back.

    def scale_of(variables: Variables) -> jax.Array:
        if config.scale is not None:
            return jnp.asarray(config.scale, dtype)
        return unit_scale(variables[STATISTICS])

    def posterior(variables: Variables, images: jax.Array) -> jax.Array:
        return coder.encode(variables["params"]["autoencoder"], scaled(images))

    def draw(variables: Variables, keys: jax.Array | None, posterior: jax.Array) -> jax.Array:
        return scale_of(variables) * latents_of(posterior.astype(dtype), keys)

    def encode(variables: Variables, key: jax.Array | None, images: jax.Array) -> jax.Array:
        return draw(variables, None if key is None else example_keys(key, len(images)), posterior(variables, images))

    def decoded(variables: Variables, z: jax.Array) -> jax.Array:
        """Images near -1 ... 1."""
        params, z = variables["params"]["autoencoder"], z / scale_of(variables)
        if bottleneck.moments == 1:
            z = nearest(coder.codebook(params), z).latents
        return coder.decode(params, z).image

    def decode(variables: Variables, z: jax.Array) -> Drawn:
        x = decoded(variables, z)
        # Of latents that are no numbers a codebook has a nearest row all the same.
        return Drawn(to_levels(x, spec.levels), finite_rows(x) & finite_rows(z))

    def latents(key: jax.Array, n: int) -> jax.Array:
        return jax.vmap(lambda key: jax.random.normal(key, shape, dtype))(example_keys(key, n))

    def sample(variables: Variables, key: jax.Array, latents: jax.Array, cond: Cond, options: SampleOptions) -> Drawn:
        del key
        z = encode(variables, None, cond["original"]) if "original" in cond else options.temperature * latents
        return decode(variables, z)

    def encode_batch(variables: Variables, key: jax.Array, batch: Batch, options: SampleOptions) -> jax.Array:
        del key, options
        return encode(variables, None, batch["image"])

    def unrounded(variables: Variables, latents: jax.Array, cond: Cond) -> jax.Array:
        del cond
        return (decoded(variables, latents) + 1) * ((spec.levels - 1) / 2)

    def scores(variables: Variables, key: jax.Array, batch: Batch) -> dict[str, jax.Array]:
        del key
        images, axes = jnp.asarray(batch["image"]), (1, 2, 3)
        back = decoded(variables, encode(variables, None, images))
        square = (to_levels(back, spec.levels).astype(dtype) - images.astype(dtype)) ** 2
        psnr = 20 * jnp.log10(spec.levels - 1.0) - 10 * jnp.log10(jnp.maximum(square.mean(axes), _LEAST_ERROR))
        figures = {"psnr": psnr, "l1": jnp.abs(back - scaled(images)).mean(axes)}
        if distance is not None:
            figures["lpips"] = distance(variables["frozen"]["perceptual"], scaled(images), back)
        return figures

    def image(batch: Batch, keys: jax.Array) -> jax.Array:
        del keys
        return jnp.asarray(batch["image"])

    original = Condition("original", spec.shape, jnp.uint8, spec.levels, of_images=image, image=True)
    draws = Draws(latents, sample, encode_batch, unrounded=unrounded, above="original")
    codec = Codec(encode, decode, shape, posterior, draw)
    return Method(init, loss, scores, takes=(original,), draws=draws, codec=codec)
