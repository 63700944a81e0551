"""The `network` section of feature networks: published ones that measure images, and are not trained here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax

from glowdiff.config.parts import Part
from glowdiff.errors import require
from glowdiff.networks import preprocessing
from glowdiff.networks.inception import Inception


@dataclass(frozen=True)
class FeatureNetwork(Part):
    """What they have in common."""

    @property
    def side(self) -> int:
        """Pixels of a side of the images that the network is given."""
        raise NotImplementedError

    @property
    def captions(self) -> Any:
        """How captions are read, with the fields of `Captions` that tokenizers need; None: they are not."""
        return None

    def prepare(self) -> Mapping[str, Callable[[jax.Array], jax.Array]]:
        """See `glowdiff.method.Features`."""
        raise NotImplementedError

    def module(self) -> Any:
        """A module that maps prepared images to features by name."""
        raise NotImplementedError


@dataclass(frozen=True)
class FIDInception(FeatureNetwork):
    """The Inception of FID, Inception scores, KID, sFID, and ADM's precision and recall."""

    outputs: int = 1_008
    epsilon: float = 1e-3  # of its normalisations

    @property
    def side(self) -> int:
        """See `FeatureNetwork`."""
        return preprocessing.INCEPTION_SIDE

    def check(self, key: str) -> None:
        """Raise `ConfigError` for impossible values."""
        require(self.outputs > 0, f"{key}.outputs is {self.outputs}; it must be at least 1.")
        require(self.epsilon > 0, f"{key}.epsilon is {self.epsilon}; it must be positive.")

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


FEATURE_NETWORKS = {"inception": FIDInception}
