"""From configurations to diffusion models, classifiers and CLIP."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from glowdiff.diffusion.classifier import classifier_method
from glowdiff.diffusion.clip import Towers, clip_method
from glowdiff.diffusion.clip_config import ClipConfig
from glowdiff.diffusion.config import ClassifierConfig, DiffusionConfig, NoiseConfig, NoisedConfig
from glowdiff.diffusion.denoise import Network
from glowdiff.diffusion.method import diffusion_method as method_of
from glowdiff.diffusion.process import Process
from glowdiff.diffusion.schedules import alpha_bars
from glowdiff.method import TOKENS, Method
from glowdiff.networks.classifier import Classifier
from glowdiff.networks.clip import CLIP
from glowdiff.networks.text_unet import TextUNet
from glowdiff.networks.unet import UNet
from glowdiff.spec import DataSpec


def unet_module(config: DiffusionConfig, spec: DataSpec, dtype: str) -> UNet:
    """The denoising module of a configuration."""
    shape = {
        "out_channels": spec.shape[-1] * (2 if config.variance == "learned" else 1),
        "classes": len(spec.classes) if config.class_conditional else 0,
        "null_class": config.label_dropout > 0,
        "low_res": config.low_res is not None,
        "inpaint": config.inpaint,
        **_backbone(config, spec, dtype),
    }
    if not config.text:
        return UNet(**shape)
    return TextUNet(
        vocab=config.vocab_size,
        text_context=config.text_context,
        text_width=config.text_width,
        text_layers=config.text_layers,
        text_heads=config.text_heads,
        **shape,
    )


def classifier_module(config: ClassifierConfig, spec: DataSpec, dtype: str) -> Classifier:
    """The classifying module of a configuration."""
    return Classifier(out_channels=len(spec.classes), pool=config.pool, **_backbone(config, spec, dtype))


def clip_module(config: ClipConfig, spec: DataSpec, dtype: str) -> CLIP:
    """The two towers of a configuration."""
    return CLIP(
        image_size=spec.shape[0],
        patch=config.patch,
        image_width=config.image_width,
        image_layers=config.image_layers,
        image_heads=config.image_heads,
        timesteps=config.timesteps,
        text_context=config.text_context,
        vocab_size=config.vocab_size,
        text_width=config.text_width,
        text_layers=config.text_layers,
        text_heads=config.text_heads,
        embedding=config.embedding,
        remat=config.remat,
        dtype=jnp.dtype(dtype),
        param_dtype=jnp.promote_types(dtype, jnp.float32),
    )


def diffusion_method(config: DiffusionConfig, spec: DataSpec, dtype: str) -> Method:
    """The `Method` of a diffusion model of images of `spec`."""
    kinds = {"prediction": config.prediction, "variance": config.variance}
    process = _process(config, **kinds, rescale_timesteps=config.rescale_timesteps)
    module = unet_module(config, spec, dtype)
    return method_of(config, network(module, dtype, module.input_parts(spec.shape[-1])), process, spec)


def classifier_of_noised_images(config: ClassifierConfig, spec: DataSpec, dtype: str) -> Method:
    """The `Method` of a classifier that guides diffusion models of images of `spec`."""
    process = _process(config, rescale_timesteps=config.rescale_timesteps)
    return classifier_method(network(classifier_module(config, spec, dtype), dtype), process, spec)


def clip_of_noised_images(config: ClipConfig, spec: DataSpec, dtype: str) -> Method:
    """The `Method` of a CLIP that guides diffusion models of images of `spec`."""
    return clip_method(towers(clip_module(config, spec, dtype)), _process(config), spec, noised=config.noised)


def network(module: Any, dtype: str, inputs: tuple[tuple[str, int], ...] = ()) -> Network:
    """A module `(x, t, cond, train)` as pure functions; it sees its parameters and no other collection."""

    def init(key: jax.Array, x: jax.Array, t: jax.Array, cond: Any) -> Any:
        return module.init(key, x, t, cond)

    def apply(variables: Any, x: jax.Array, t: jax.Array, cond: Any) -> jax.Array:
        return module.apply({"params": variables["params"]}, x, t, cond)

    def read(variables: Any, cond: Any) -> Any:
        """Captions encoded, where the network reads any."""
        if "tokens" not in cond:
            return cond
        encoded = module.apply({"params": variables["params"]}, cond["tokens"], cond["mask"], method="encode_text")
        return {name: value for name, value in cond.items() if name not in TOKENS} | encoded

    def train(variables: Any, x: jax.Array, t: jax.Array, cond: Any, key: jax.Array) -> jax.Array:
        return module.apply({"params": variables["params"]}, x, t, cond, train=True, rngs={"dropout": key})

    return Network(init, apply, train, jnp.promote_types(dtype, jnp.float32), read, inputs)


def towers(module: Any) -> Towers:
    """The module `CLIP` as pure functions."""

    def image(variables: Any, x: jax.Array, t: jax.Array) -> jax.Array:
        return module.apply({"params": variables["params"]}, x, t, method="image")

    def text(variables: Any, tokens: jax.Array, mask: jax.Array) -> jax.Array:
        return module.apply({"params": variables["params"]}, tokens, mask, method="text")

    def scale(variables: Any) -> jax.Array:
        return module.apply({"params": variables["params"]}, method="scale")

    wide = jnp.promote_types(module.dtype, jnp.float32)
    return Towers(module.init, image, text, scale, module.text_context, wide)


def _backbone(config: NoisedConfig, spec: DataSpec, dtype: str) -> dict[str, Any]:
    """What both networks are built with."""
    side = spec.shape[0]
    return {
        "image_size": side,
        "channels": config.channels,
        "channel_mult": config.multipliers(side),
        "res_blocks": config.res_blocks,
        "attention": config.attention_sides(),
        "heads": config.heads,
        "head_channels": config.head_channels,
        "adagn": config.adagn,
        "updown": config.updown,
        "new_order": config.new_attention_order,
        "dropout": config.dropout,
        "remat": config.remat,
        "dtype": jnp.dtype(dtype),
        "param_dtype": jnp.promote_types(dtype, jnp.float32),
    }


def _process(config: NoiseConfig, **kinds: Any) -> Process:
    table = alpha_bars(config.schedule, config.timesteps, zero_terminal_snr=config.zero_terminal_snr)
    # A guide predicts nothing of the process's; any kind suits zero terminal SNR but eps.
    return Process(table, **{"prediction": "v", **kinds})
