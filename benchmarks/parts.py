"""Models that serve published ones, an autoencoder and a text encoder, in shapes: what their workdirs would hold."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax

from glowdiff.catalog.methods import build_method
from glowdiff.catalog.parse import defaults, parse
from glowdiff.cli.configurations import configuration
from glowdiff.config.sections import Config
from glowdiff.data.latents import Header
from glowdiff.errors import ConfigError
from glowdiff.method import Frozen, Method, Variables, batch_shapes
from glowdiff.networks.text_method import TextConfig
from glowdiff.sharding import Platform
from glowdiff.spec import DataSpec

# The configurations of the autoencoders that published models name.
CODECS = {
    "runs/sd15/parts/codec": "autoencoder/kl_f8",
    "runs/sd21/parts/codec": "autoencoder/kl_f8",
    "runs/kl_f8": "autoencoder/kl_f8",
    "runs/vq_f4": "autoencoder/vq_f4",
    "runs/openmoji_codec": "ldm/openmoji_codec",
}


class Parts(NamedTuple):
    """What serves a model."""

    frozen: dict[str, Frozen]
    variables: dict[str, Variables]  # shapes and dtypes


def parts(config: Config, spec: DataSpec, platform: Platform) -> Parts:
    """What serves the model of a published configuration, by name.

    Raises:
      ConfigError: it names a workdir that is not in the table above.
    """
    found = Parts({}, {})
    for name, workdir in config.model.frozen().items():
        section = _text(config) if name == "text" else _codec(config, workdir)
        method = build_method(section, spec, platform)
        shapes = batch_shapes(spec, section.model.init_images, method.takes)
        found.frozen[name] = Frozen(method, spec)
        found.variables[name] = dict(jax.eval_shape(method.init, jax.random.key(0), shapes))
    return found


def prepared(method: Method, spec: DataSpec, variables: Variables) -> Header:
    """What `glowdiff prepare latents` would have kept of images of `spec`, for a model that works in latents.

    Args:
      method: the autoencoder.
      spec: of the images.
      variables: shapes and dtypes of the autoencoder.
    """
    assert method.codec is not None
    assert method.codec.posterior is not None
    images = batch_shapes(spec, 1)["image"]
    kept = jax.eval_shape(method.codec.posterior, variables, images)
    return Header({}, spec.train_size, kept.shape[1:], "float16", mirrored=False, codec="")


def _codec(config: Config, workdir: str) -> Config:
    if workdir not in CODECS:
        raise ConfigError(f"model.codec.workdir is {workdir}; known are {', '.join(CODECS)}.")
    codec = configuration(CODECS[workdir], {})
    return dataclasses.replace(codec, model=codec.model.serving(), data=config.data, dtype=config.dtype)


def _text(config: Config) -> Config:
    section: Any = dataclasses.replace(config.model.text, workdir=None)
    usual = parse(defaults("text"))
    return dataclasses.replace(usual, model=TextConfig(text=section), data=config.data, dtype=config.dtype)
