"""The `model` section of a CLIP of noised images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from glowdiff.config.sections import DataConfig, TrainConfig
from glowdiff.diffusion.config import NoiseConfig
from glowdiff.diffusion.text_config import TextConfig
from glowdiff.errors import require
from glowdiff.spec import DataSpec


@dataclass(frozen=True)
class ClipConfig(NoiseConfig, TextConfig):
    """Two transformers that agree on which caption is whose; the sizes are those of GLIDE's (Nichol et al., 2022)."""

    schedule: str = "cosine"
    noised: bool = True  # sees noised images, to guide; False: plain CLIP, which takes every image for that of t = 0

    patch: int = 4  # pixels of a patch's side; it divides that of the images
    image_width: int = 768
    image_layers: int = 12
    image_heads: int = 12

    text_context: int = 77
    text_width: int = 512
    text_layers: int = 12
    text_heads: int = 8
    vocab_size: int = 65_536  # rows of the table of tokens, and so the largest vocabulary that is trained

    embedding: int = 512  # in which both meet
    remat: bool = False  # recompute the activations of each block in the backward pass

    settings: ClassVar[Mapping[str, Any]] = {
        "train.ema_decay": 0.0, "optimizer.name": "adamw", "optimizer.learning_rate": 3e-4,
        "optimizer.weight_decay": 0.1, "optimizer.b2": 0.98, "optimizer.eps": 1e-6,
    }  # fmt: skip
    sampling_keys: ClassVar[tuple[str, ...]] = ()

    def check(self) -> None:
        """Raise `ConfigError` for impossible values."""
        super().check()
        for key in ("patch", "image_width", "image_layers", "image_heads", "embedding"):
            value = getattr(self, key)
            require(value > 0, f"model.{key} is {value}; it must be at least 1.")
        width, heads = self.image_width, self.image_heads
        require(width % heads == 0, f"model.image_heads is {heads}, which does not divide model.image_width={width}.")

    def check_train(self, train: TrainConfig) -> None:
        """Raise `ConfigError` if the model cannot be trained so."""
        super().check_train(train)
        require(
            train.accumulate == 1,
            f"train.accumulate is {train.accumulate}, but CLIP compares all images and captions of a batch with each "
            "other; micro-batches would see only their own. To save memory, set model.remat=True.",
        )

    def check_data(self, spec: DataSpec, data: DataConfig) -> None:
        """Raise `ConfigError` if the data cannot be modelled so."""
        super().check_data(spec, data)
        require(spec.captions, f"CLIP learns from captions, but {data.name} has none; try data.name=openmoji.")
        height, width, channels = spec.shape
        size = f"images of {data.name} are {height}x{width} pixels"
        require(height == width, f"{size}, but CLIP takes square ones.")
        require(
            channels == 3,
            f"images of {data.name} have {'1 channel' if channels == 1 else f'{channels} channels'}, but CLIP takes "
            "colour images of 3: its mean and deviation are of red, green and blue.",
        )
        require(
            height % self.patch == 0,
            f"model.patch is {self.patch}, which does not divide the {height} pixels of a side of {data.name}.",
        )
