"""From configurations to the methods of diffusion models, classifiers and CLIP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from glowdiff.diffusion.classifier import classifier_method
from glowdiff.diffusion.clip import Towers, clip_method
from glowdiff.diffusion.clip_features import clip_features
from glowdiff.diffusion.codec import Pixels
from glowdiff.diffusion.conditions import rows
from glowdiff.diffusion.config import ClassifierConfig, ClipConfig, DiffusionConfig
from glowdiff.diffusion.guided import Network
from glowdiff.diffusion.method import diffusion_method
from glowdiff.diffusion.reading import Reader, reader
from glowdiff.method import Frozen, Method, caption_rows
from glowdiff.networks.classifier import Classifier
from glowdiff.networks.clip import CLIP
from glowdiff.networks.unet import UNet
from glowdiff.sharding import Platform
from glowdiff.spec import DataSpec


def denoising_module(
    config: DiffusionConfig,
    spec: DataSpec,
    dtype: str,
    *,
    platform: Platform,
    frozen: Mapping[str, Frozen] | None = None,
) -> UNet:
    """The denoising module of a configuration, for images of `spec`; `frozen` as of `build_diffusion`."""
    shape = config.codec.codec(spec, dtype, frozen).shape
    height, width, channels = shape
    config.network.check_shape(height, width)
    outputs = channels * (2 if config.process.variance == "learned" else 1)
    return config.network.module(height, outputs, rows(config, spec, shape), config.text, dtype, platform=platform)


def classifying_module(config: ClassifierConfig, spec: DataSpec, dtype: str, *, platform: Platform) -> Classifier:
    """The classifying module of a configuration, for images of `spec`."""
    return config.network.module(spec, dtype, platform=platform)


def clip_module(config: ClipConfig, spec: DataSpec, dtype: str, *, platform: Platform) -> CLIP:
    """The two towers of a configuration, for images of `spec`."""
    del platform  # its attention is small
    return config.network.module(spec.shape[0], config.text, config.process.timesteps, dtype)


def build_diffusion(
    config: DiffusionConfig,
    spec: DataSpec,
    dtype: str,
    *,
    platform: Platform,
    frozen: Mapping[str, Frozen] | None = None,
) -> Method:
    """The `Method` of a diffusion model of images of `spec`; `frozen` are the models that `config.frozen` names."""
    module = denoising_module(config, spec, dtype, platform=platform, frozen=frozen)
    net = network(module, dtype, reader(config.text, frozen or {}))
    codec = config.codec.codec(spec, net.dtype, frozen)
    return diffusion_method(config, net, config.process.process(), codec, rows(config, spec, codec.shape), spec)


def build_classifier(config: ClassifierConfig, spec: DataSpec, dtype: str, *, platform: Platform) -> Method:
    """The `Method` of a classifier that guides diffusion models of images of `spec`."""
    net = network(classifying_module(config, spec, dtype, platform=platform), dtype)
    return classifier_method(net, config.process.process(), Pixels("pixels").codec(spec, net.dtype), spec)


def build_clip(config: ClipConfig, spec: DataSpec, dtype: str, *, platform: Platform) -> Method:
    """The `Method` of a CLIP that guides diffusion models of images of `spec`."""
    module = towers(clip_module(config, spec, dtype, platform=platform))
    takes = caption_rows(config.text.context, config.text.vocab_size)
    codec = Pixels("pixels").codec(spec, module.dtype)
    method = clip_method(module, config.process.process(), codec, takes, noised=config.noised)
    return method._replace(features=clip_features(module, spec.shape[0]))


def network(module: Any, dtype: str, captions: Reader | None = None) -> Network:
    """A module `(x, t, cond, train)` as pure functions; it sees its parameters and no other collection.

    Args:
      module: what denoises, or classifies.
      dtype: of its arithmetic.
      captions: what reads them for it; None: it reads them itself, if there are any.
    """

    def init(key: jax.Array, x: jax.Array, t: jax.Array, cond: Any) -> Any:
        return module.init(key, x, t, captions.blank(cond) if captions and "tokens" in cond else cond)

    def apply(variables: Any, x: jax.Array, t: jax.Array, cond: Any) -> jax.Array:
        return module.apply({"params": variables["params"]}, x, t, given(variables, cond))

    def given(variables: Any, cond: Any) -> Any:
        """Conditions as the module takes them."""
        return captions.read(variables, cond) if captions else cond

    def read(variables: Any, cond: Any) -> Any:
        """Captions encoded, where the network reads any."""
        if captions or "tokens" not in cond:
            return given(variables, cond)
        encoded = module.apply({"params": variables["params"]}, cond["tokens"], cond["mask"], method="encode_text")
        return {name: value for name, value in cond.items() if name not in ("tokens", "mask")} | encoded

    def train(variables: Any, x: jax.Array, t: jax.Array, cond: Any, key: jax.Array) -> jax.Array:
        cond = given(variables, cond)
        return module.apply({"params": variables["params"]}, x, t, cond, train=True, rngs={"dropout": key})

    return Network(init, apply, train, jnp.promote_types(dtype, jnp.float32), read)


def towers(module: CLIP) -> Towers:
    """The module `CLIP` as pure functions."""

    def image(variables: Any, x: jax.Array, t: jax.Array) -> Any:
        return module.apply({"params": variables["params"]}, x, t, method="image")

    def text(variables: Any, tokens: jax.Array, mask: jax.Array) -> Any:
        return module.apply({"params": variables["params"]}, tokens, mask, method="text")

    def scale(variables: Any) -> Any:
        return module.apply({"params": variables["params"]}, method="scale")

    return Towers(module.init, image, text, scale, jnp.promote_types(module.dtype, jnp.float32))
