"""From configurations to the method of autoencoders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from glowdiff.autoencoders.config import AutoencoderConfig
from glowdiff.autoencoders.method import Coder, Discriminator, autoencoder_method
from glowdiff.errors import ConfigError, require
from glowdiff.method import Frozen, Method
from glowdiff.networks.autoencoder import Autoencoder
from glowdiff.networks.discriminator import PatchDiscriminator
from glowdiff.sharding import Platform
from glowdiff.spec import DataSpec


def autoencoder_module(config: AutoencoderConfig, spec: DataSpec, dtype: str, *, platform: Platform) -> Autoencoder:
    """The module of a configuration, for images of `spec`."""
    return config.network.module(spec.shape[-1], config.bottleneck, dtype, platform=platform)


def build_autoencoder(
    config: AutoencoderConfig,
    spec: DataSpec,
    dtype: str,
    *,
    platform: Platform,
    frozen: Mapping[str, Frozen] | None = None,
) -> Method:
    """The `Method` of an autoencoder of images of `spec`.

    Raises:
      ConfigError: LPIPS is asked for without its weights, or `model.perceptual` is another model.
    """
    require(
        not config.perceptual_weight or config.perceptual is not None,
        f"model.perceptual_weight is {config.perceptual_weight}, which asks for LPIPS, but its weights are not here: "
        "import them (glowdiff import lpips --weights=VGG16 --linear=LPIPS --workdir=runs/lpips) and give "
        "model.perceptual=runs/lpips, or train without (model.perceptual_weight=0).",
    )
    distance = None
    if config.perceptual is not None:
        judge = (frozen or {})["perceptual"].method.features
        distance = judge.distance if judge else None
        if distance is None:
            raise ConfigError(f"model.perceptual is {config.perceptual}, which holds another model than LPIPS.")
    judge = None
    if config.discriminator_weight:
        sizes = (config.discriminator_channels, config.discriminator_layers)
        judge = discriminator(PatchDiscriminator(*sizes, jnp.dtype(dtype), jnp.promote_types(dtype, jnp.float32)))
    module = autoencoder_module(config, spec, dtype, platform=platform)
    return autoencoder_method(config, coder(module), judge, distance, spec)


def coder(module: Autoencoder) -> Coder:
    """The module as pure functions."""

    def apply(params: Any, *args: Any, method: str) -> Any:
        return module.apply({"params": params}, *args, method=method)

    return Coder(
        init=lambda key, x: module.init(key, x)["params"],
        encode=lambda params, x: apply(params, x, method="encode"),
        decode=lambda params, z: apply(params, z, method="decode"),
        codebook=lambda params: apply(params, method="codebook_rows"),
        dtype=jnp.promote_types(module.dtype, jnp.float32),
    )


def discriminator(module: PatchDiscriminator) -> Discriminator:
    """The module as pure functions."""

    def judge(params: Any, statistics: Any, x: jax.Array) -> tuple[jax.Array, Any]:
        variables = {"params": params, "batch_stats": statistics}
        logits, moved = module.apply(variables, x, True, mutable=["batch_stats"])
        # Linen keeps them in float32, whatever they are made of.
        return logits, jax.tree.map(lambda new, old: new.astype(old.dtype), moved["batch_stats"], statistics)

    return Discriminator(lambda key, x: module.init(key, x, False), judge)
