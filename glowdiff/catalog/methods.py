"""Which methods there are: for each name, the dataclass of its `model` section and what builds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from glowdiff.config.sections import Config, ModelConfig
from glowdiff.diffusion.build import classifier_of_noised_images, clip_of_noised_images, diffusion_method
from glowdiff.diffusion.clip_config import ClipConfig
from glowdiff.diffusion.config import ClassifierConfig, DiffusionConfig
from glowdiff.errors import ConfigError
from glowdiff.flows.build import glow_method, nice_method, realnvp_method
from glowdiff.flows.config import GlowConfig, NICEConfig, RealNVPConfig
from glowdiff.method import Method
from glowdiff.spec import DataSpec


@dataclass(frozen=True)
class Entry:
    """A method's configuration and constructor."""

    config: type[ModelConfig]
    build: Callable[[Any, DataSpec, str], Method]  # (model configuration, data, dtype)


METHODS: dict[str, Entry] = {
    "glow": Entry(GlowConfig, glow_method),
    "realnvp": Entry(RealNVPConfig, realnvp_method),
    "nice": Entry(NICEConfig, nice_method),
    "diffusion": Entry(DiffusionConfig, diffusion_method),
    "classifier": Entry(ClassifierConfig, classifier_of_noised_images),
    "clip": Entry(ClipConfig, clip_of_noised_images),
}


def build_method(config: Config, spec: DataSpec) -> Method:
    """The configured method for images of `spec`.

    Raises:
      ConfigError: the data cannot be modelled so.
    """
    if config.dtype == "float64" and not jax.config.read("jax_enable_x64"):
        raise ConfigError("dtype is float64, which JAX computes only with the environment variable JAX_ENABLE_X64=1.")
    config.model.check_data(spec, config.data)
    return METHODS[config.method].build(config.model, spec, config.dtype)
