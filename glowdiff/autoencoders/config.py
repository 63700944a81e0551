"""The `model` section of autoencoders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from glowdiff.autoencoders.losses import ADVERSARIAL, PIXELS
from glowdiff.config.parts import part
from glowdiff.config.sections import DataConfig, ModelConfig, TrainConfig
from glowdiff.errors import require, require_choice
from glowdiff.networks.autoencoders import AUTOENCODERS
from glowdiff.networks.bottleneck import BOTTLENECKS
from glowdiff.spec import DataSpec


@dataclass(frozen=True)
class AutoencoderConfig(ModelConfig):
    """An autoencoder: its halves, what its latents are, and what trains it."""

    init_images: int = 1  # nothing depends on data

    network: Any = part(AUTOENCODERS, "ldm")
    bottleneck: Any = part(BOTTLENECKS, "kl")
    # What latents are multiplied by, so that their deviation is 1; None: measured while training.
    scale: float | None = None

    pixel_loss: str = "l1"  # l1 | l2
    perceptual: str | None = None  # the workdir of `glowdiff import lpips`, whose distance is trained on too
    perceptual_weight: float = 0.0  # of that distance, beside a pixel's error
    discriminator_weight: float = 0.0  # of the adaptive weight of the discriminator's opinion; 0: there is none
    discriminator_start: int = 0  # steps before it begins
    discriminator_loss: str = "hinge"  # hinge | vanilla
    discriminator_channels: int = 64  # of its first layer
    discriminator_layers: int = 3

    # Without an average, as the published ones; the moments suit discriminators.
    settings: ClassVar[Mapping[str, Any]] = {
        "train.ema_decay": 0.0, "optimizer.learning_rate": 1e-4, "optimizer.b1": 0.5, "optimizer.b2": 0.9,
    }  # fmt: skip

    def frozen(self) -> Mapping[str, str]:
        """See `ModelConfig`: the network of LPIPS."""
        return {} if self.perceptual is None else {"perceptual": self.perceptual}

    def serving(self) -> AutoencoderConfig:
        """See `ModelConfig`: without what trains it."""
        return replace(self, perceptual=None, perceptual_weight=0.0, discriminator_weight=0.0)

    def check(self) -> None:
        """Raise `ConfigError` for impossible values."""
        super().check()
        require_choice("model.pixel_loss", self.pixel_loss, PIXELS)
        require_choice("model.discriminator_loss", self.discriminator_loss, ADVERSARIAL)
        require(self.scale is None or self.scale > 0, f"model.scale is {self.scale}; it must be positive, or None.")
        for key in ("perceptual_weight", "discriminator_weight", "discriminator_start"):
            value = getattr(self, key)
            require(value >= 0, f"model.{key} is {value}; it must be 0 or more.")
        for key in ("discriminator_channels", "discriminator_layers"):
            value = getattr(self, key)
            require(value > 0, f"model.{key} is {value}; it must be at least 1.")
        require(
            self.perceptual is None or self.perceptual_weight > 0,
            f"model.perceptual is {self.perceptual}, but model.perceptual_weight is 0; published autoencoders have 1.",
        )

    def check_train(self, train: TrainConfig) -> None:
        """Raise `ConfigError` if the model cannot be trained so."""
        super().check_train(train)
        require(
            train.accumulate == 1 or not self.discriminator_weight,
            f"train.accumulate is {train.accumulate}, but a discriminator (model.discriminator_weight) normalises and "
            "balances over all images of a step. To save memory, set model.network.remat=True.",
        )

    def check_data(self, spec: DataSpec, data: DataConfig) -> None:
        """Raise `ConfigError` if the data cannot be modelled so."""
        super().check_data(spec, data)
        height, width, channels = spec.shape
        self.network.latent_shape(height, width, self.bottleneck.channels)
        require(
            self.perceptual is None or channels == 3,
            f"model.perceptual is given, but images of {data.name} have {channels} channels; LPIPS sees colours.",
        )
        side = min(height, width)
        for layer in range(self.discriminator_layers + 2):  # of kernels of four pixels
            side = side // 2 if layer < self.discriminator_layers else side - 1
        require(
            side > 0 or not self.discriminator_weight,
            f"model.discriminator_layers is {self.discriminator_layers}, which images of {height}x{width} pixels are "
            "too small for.",
        )
