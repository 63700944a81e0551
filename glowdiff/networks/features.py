"""A published network that measures images, as a `Method`: it is imported, and neither trained nor sampled from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import jax
import jax.numpy as jnp

from glowdiff.config.parts import part
from glowdiff.config.sections import ModelConfig
from glowdiff.errors import ConfigError, require
from glowdiff.method import Batch, Features, Method, Variables
from glowdiff.networks.feature_networks import FEATURE_NETWORKS
from glowdiff.sharding import Platform
from glowdiff.spec import DataSpec


@dataclass(frozen=True)
class FeaturesConfig(ModelConfig):
    """A feature network."""

    init_images: int = 1

    network: Any = part(FEATURE_NETWORKS, "inception")

    settings: ClassVar[Mapping[str, Any]] = {"train.ema_decay": 0.0}
    options: ClassVar[tuple[str, ...]] = ()

    @property
    def captions(self) -> Any:
        """How captions are read, by CLIP."""
        return self.network.captions


def features_module(config: FeaturesConfig, spec: DataSpec, dtype: str, *, platform: Platform) -> Any:
    """The module of a configuration."""
    del spec, dtype, platform
    return config.network.module()


def features_method(config: FeaturesConfig, spec: DataSpec, dtype: str, *, platform: Platform) -> Method:
    """The `Method` of a feature network.

    Raises:
      ConfigError: another dtype than float32 is asked for: figures are compared with those that others have published.
    """
    require(dtype == "float32", f"dtype is {dtype}, but features that are compared with others' are float32.")
    network, module = config.network, features_module(config, spec, dtype, platform=platform)

    def init(key: jax.Array, batch: Batch) -> Variables:
        count, side = len(batch["image"]), network.side
        tokens = (jnp.zeros((count, config.captions.context), jnp.int32),) if config.captions else ()
        return module.init(key, jnp.zeros((count, side, side, 3)), *tokens)

    def images(variables: Variables, prepared: jax.Array) -> dict[str, jax.Array]:
        with jax.default_matmul_precision("highest"):
            return module.apply({"params": variables["params"]}, prepared)

    def texts(variables: Variables, tokens: jax.Array, mask: jax.Array | None = None) -> dict[str, jax.Array]:
        del mask  # the end token says where a caption ends
        with jax.default_matmul_precision("highest"):
            return module.apply({"params": variables["params"]}, tokens, method="text")

    def distance(variables: Variables, x: jax.Array, y: jax.Array) -> jax.Array:
        return module.apply({"params": variables["params"]}, x, y, method="distance")

    def loss(variables: Variables, key: jax.Array, batch: Batch) -> NoReturn:
        raise ConfigError(
            f"{config.network.name} measures images as it was published; it is imported, and not trained here."
        )

    features = Features(
        network.prepare(), images, texts if config.captions else None, network.main, network.side,
        distance=distance if network.compares else None,
    )  # fmt: skip
    return Method(init, loss, features=features)
