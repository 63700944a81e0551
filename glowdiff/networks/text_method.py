"""A text encoder of its own, as a `Method`: it serves denoisers that are trained beside it, and is not trained here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import jax
import jax.numpy as jnp

from glowdiff.config.parts import part
from glowdiff.config.sections import ModelConfig
from glowdiff.errors import ConfigError, require
from glowdiff.method import Batch, Method, Variables, caption_rows
from glowdiff.networks.captions import ENCODERS, CLIPText
from glowdiff.sharding import Platform
from glowdiff.spec import DataSpec


@dataclass(frozen=True)
class TextConfig(ModelConfig):
    """What reads captions for other models."""

    init_images: int = 1

    text: Any = part(ENCODERS, "clip")

    settings: ClassVar[Mapping[str, Any]] = {"train.ema_decay": 0.0}
    options: ClassVar[tuple[str, ...]] = ()

    @property
    def captions(self) -> CLIPText:
        """How captions are read."""
        return self.text

    def check(self) -> None:
        """Raise `ConfigError` for impossible values."""
        super().check()
        require(self.text.trained, f"model.text.workdir is {self.text.workdir}; a text encoder needs none beside it.")


def text_method(config: TextConfig, spec: DataSpec, dtype: str, *, platform: Platform) -> Method:
    """The `Method` of a text encoder."""
    del spec, platform  # its attention is small
    kinds = {"dtype": jnp.dtype(dtype), "param_dtype": jnp.promote_types(dtype, jnp.float32)}
    module = config.text.encoder(None, remat=False, **kinds)

    def init(key: jax.Array, batch: Batch) -> Variables:
        return module.init(key, batch["cond"]["tokens"], batch["cond"]["mask"])

    def text(variables: Variables, tokens: jax.Array, mask: jax.Array) -> dict[str, jax.Array]:
        return module.apply({"params": variables["params"]}, tokens, mask)

    def loss(variables: Variables, key: jax.Array, batch: Batch) -> NoReturn:
        raise ConfigError("a text encoder is imported, and trained with a denoiser or not at all.")

    return Method(init, loss, takes=caption_rows(config.text.context, config.text.vocab_size), text=text)
