"""The `network` section of feature networks: published ones that measure images, and are not trained here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, ClassVar

import jax

from glowdiff.config.parts import Part
from glowdiff.errors import require, require_choice
from glowdiff.networks import preprocessing
from glowdiff.networks.clip_vit import CLIPViT
from glowdiff.networks.dinov2 import DINOv2
from glowdiff.networks.efficientnet import EfficientNetLite0
from glowdiff.networks.inception import Inception
from glowdiff.networks.lpips import LPIPS
from glowdiff.networks.transformer import ACTIVATIONS


@dataclass(frozen=True)
class FeatureNetwork(Part, ABC):
    """What they have in common.

    Attributes:
      main: the feature in which distances between sets of images are measured; empty: none is.
      compares: whether its module has `distance`, between two images.
    """

    main: ClassVar[str]
    compares: ClassVar[bool] = False

    @property
    @abstractmethod
    def side(self) -> int:
        """Pixels of a side of the images that the network is given."""

    @property
    def captions(self) -> Any:
        """How captions are read, with the fields of `Captions` that tokenizers need; None: they are not."""
        return None

    @abstractmethod
    def prepare(self) -> Mapping[str, Callable[[jax.Array], jax.Array]]:
        """See `glowdiff.method.Features`."""

    @abstractmethod
    def module(self) -> Any:
        """A module that maps prepared images to features by name."""


@dataclass(frozen=True)
class FIDInception(FeatureNetwork):
    """The Inception of FID, Inception scores, KID, sFID, and ADM's precision and recall."""

    main: ClassVar[str] = "pool3"

    outputs: int = 1_008
    epsilon: float = 1e-3  # of its normalisations

    @property
    def side(self) -> int:
        """See `FeatureNetwork`."""
        return preprocessing.INCEPTION_SIDE

    def check(self, key: str) -> None:
        """Raise `ConfigError` for impossible values."""
        _check_classifier(self, key)

    def prepare(self) -> Mapping[str, Callable[[jax.Array], jax.Array]]:
        """As published by TensorFlow's evaluator, by pytorch-fid and by clean-fid."""
        return {
            "tensorflow": preprocessing.inception_tensorflow,
            "pytorch_fid": preprocessing.inception_pytorch_fid,
            "clean": preprocessing.inception_clean,
        }

    def module(self) -> Inception:
        """See `FeatureNetwork`."""
        return Inception(self.outputs, self.epsilon)


@dataclass(frozen=True)
class PlainCLIP(FeatureNetwork):
    """CLIP with a Vision Transformer, of CMMD and CLIP scores; the sizes are those of ViT-L/14."""

    main: ClassVar[str] = "image"

    image_size: int = 224
    patch: int = 14
    width: int = 1_024
    layers: int = 24
    heads: int = 16
    context: int = 77  # tokens of a caption
    vocab_size: int = 49_408
    text_width: int = 768
    text_layers: int = 12
    text_heads: int = 12
    embedding: int = 768  # in which images and captions meet
    activation: str = "quick_gelu"  # quick_gelu (OpenAI's) | gelu
    tokenizer: str = "clip"

    @property
    def side(self) -> int:
        """See `FeatureNetwork`."""
        return self.image_size

    @property
    def captions(self) -> PlainCLIP:
        """It reads captions."""
        return self

    def check(self, key: str) -> None:
        """Raise `ConfigError` for impossible values."""
        _check_transformer(self, key)
        require_choice(f"{key}.activation", self.activation, ACTIVATIONS)
        require_choice(f"{key}.tokenizer", self.tokenizer, ("clip",))
        _check_heads(key, self.text_heads, self.text_width)

    def prepare(self) -> Mapping[str, Callable[[jax.Array], jax.Array]]:
        """CLIP's own, for captions, and CMMD's."""
        return {
            "cropped": partial(preprocessing.clip_cropped, side=self.image_size),
            "whole": partial(preprocessing.clip_whole, side=self.image_size),
        }

    def module(self) -> CLIPViT:
        """See `FeatureNetwork`."""
        return CLIPViT(
            image_size=self.image_size, patch=self.patch, image_width=self.width, image_layers=self.layers,
            image_heads=self.heads, context=self.context, vocab_size=self.vocab_size, text_width=self.text_width,
            text_layers=self.text_layers, text_heads=self.text_heads, embedding=self.embedding,
            activation=self.activation,
        )  # fmt: skip


@dataclass(frozen=True)
class DINOv2ViT(FeatureNetwork):
    """DINOv2, of FD-DINOv2 (Stein et al., 2023); the sizes are those of ViT-L/14."""

    main: ClassVar[str] = "class"

    image_size: int = 518  # for which there is a table of positions
    patch: int = 14
    width: int = 1_024
    layers: int = 24
    heads: int = 16
    hidden: int = 4_096  # channels within an MLP
    gated: bool = False  # MLPs are SwiGLU's

    @property
    def side(self) -> int:
        """See `FeatureNetwork`; the largest multiple of a patch in 224."""
        return 224 // self.patch * self.patch or self.patch

    def check(self, key: str) -> None:
        """Raise `ConfigError` for impossible values."""
        _check_transformer(self, key)

    def prepare(self) -> Mapping[str, Callable[[jax.Array], jax.Array]]:
        """As in the paper of FD-DINOv2."""
        return {"whole": partial(preprocessing.dinov2_whole, side=self.side)}

    def module(self) -> DINOv2:
        """See `FeatureNetwork`."""
        return DINOv2(self.image_size, self.patch, self.width, self.layers, self.heads, self.hidden, self.gated)


@dataclass(frozen=True)
class EfficientNet(FeatureNetwork):
    """EfficientNet-Lite0, an ImageNet classifier that comes in a package; figures by it are not FID."""

    main: ClassVar[str] = "pool"

    outputs: int = 1_000
    epsilon: float = 1e-3  # of its normalisations

    @property
    def side(self) -> int:
        """See `FeatureNetwork`."""
        return 224

    def check(self, key: str) -> None:
        """Raise `ConfigError` for impossible values."""
        _check_classifier(self, key)

    def prepare(self) -> Mapping[str, Callable[[jax.Array], jax.Array]]:
        """As its classes were tested."""
        return {"cropped": partial(preprocessing.efficientnet_lite, side=self.side, shorter=256)}

    def module(self) -> EfficientNetLite0:
        """See `FeatureNetwork`."""
        return EfficientNetLite0(self.outputs, self.epsilon)


@dataclass(frozen=True)
class PerceptualVGG(FeatureNetwork):
    """LPIPS with VGG16 (Zhang et al., 2018), on which autoencoders are trained."""

    main: ClassVar[str] = ""
    compares: ClassVar[bool] = True

    @property
    def side(self) -> int:
        """See `FeatureNetwork`; it takes images of any size."""
        return 64

    def prepare(self) -> Mapping[str, Callable[[jax.Array], jax.Array]]:
        """As they are."""
        return {"whole": preprocessing.unit_whole}

    def module(self) -> LPIPS:
        """See `FeatureNetwork`."""
        return LPIPS()


def _check_classifier(network: FIDInception | EfficientNet, key: str) -> None:
    require(network.outputs > 0, f"{key}.outputs is {network.outputs}; it must be at least 1.")
    require(network.epsilon > 0, f"{key}.epsilon is {network.epsilon}; it must be positive.")


def _check_transformer(network: Any, key: str) -> None:
    for each in fields(network):
        value = getattr(network, each.name)
        require(
            not isinstance(value, int) or isinstance(value, bool) or value > 0,
            f"{key}.{each.name} is {value}; it must be at least 1.",
        )
    _check_heads(key, network.heads, network.width)
    require(
        network.image_size % network.patch == 0,
        f"{key}.patch is {network.patch}, which does not divide {key}.image_size={network.image_size}.",
    )


def _check_heads(key: str, heads: int, width: int) -> None:
    require(width % heads == 0, f"{key}: {heads} heads cannot share a width of {width}.")


FEATURE_NETWORKS = {
    "inception": FIDInception, "clip_vit": PlainCLIP, "dinov2": DINOv2ViT, "efficientnet_lite0": EfficientNet,
    "lpips": PerceptualVGG,
}  # fmt: skip
