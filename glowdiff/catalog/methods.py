"""Which methods there are: for each name, the dataclass of its `model` section and what builds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax

from glowdiff.autoencoders.build import build_autoencoder
from glowdiff.autoencoders.config import AutoencoderConfig
from glowdiff.config.sections import Config, ModelConfig
from glowdiff.diffusion.build import build_classifier, build_clip, build_diffusion
from glowdiff.diffusion.config import ClassifierConfig, ClipConfig, DiffusionConfig
from glowdiff.errors import require
from glowdiff.flows.build import glow_method, nice_method, realnvp_method
from glowdiff.flows.config import GlowConfig, NICEConfig, RealNVPConfig
from glowdiff.method import Frozen, Method
from glowdiff.networks.features import FeaturesConfig, features_method
from glowdiff.networks.text_method import TextConfig, text_method
from glowdiff.sharding import Platform, platform_of
from glowdiff.spec import DataSpec


@dataclass(frozen=True)
class Entry:
    """A method's configuration and constructor."""

    config: type[ModelConfig]
    build: Callable[..., Method]  # (model configuration, data, dtype, platform=..., and frozen=... if there is any)


METHODS: dict[str, Entry] = {
    "glow": Entry(GlowConfig, glow_method),
    "realnvp": Entry(RealNVPConfig, realnvp_method),
    "nice": Entry(NICEConfig, nice_method),
    "diffusion": Entry(DiffusionConfig, build_diffusion),
    "classifier": Entry(ClassifierConfig, build_classifier),
    "clip": Entry(ClipConfig, build_clip),
    "autoencoder": Entry(AutoencoderConfig, build_autoencoder),
    "features": Entry(FeaturesConfig, features_method),
    "text": Entry(TextConfig, text_method),
}


def build_method(
    config: Config, spec: DataSpec, platform: Platform | None = None, frozen: Mapping[str, Frozen] | None = None
) -> Method:
    """The configured method for images of `spec`.

    Args:
      config: of the run.
      spec: of its data.
      platform: what it is compiled for; None: JAX's default device.
      frozen: the models that `config.model.frozen` names.

    Raises:
      ConfigError: the data cannot be modelled so.
    """
    require(
        config.dtype != "float64" or jax.config.read("jax_enable_x64"),
        "dtype is float64, which JAX computes only with the environment variable JAX_ENABLE_X64=1.",
    )
    config.model.check_data(spec, config.data)
    more = {"frozen": frozen} if frozen else {}
    return METHODS[config.method].build(config.model, spec, config.dtype, platform=platform or platform_of(), **more)
