"""The `model` section of a Glow's configuration."""

from __future__ import annotations

from dataclasses import dataclass

from glowdiff.config.schema import DataConfig, require, require_choice
from glowdiff.data.spec import DataSpec
from glowdiff.flows import chain
from glowdiff.flows.bijections import couplings, permutations


@dataclass(frozen=True)
class GlowConfig:
    """Glow's architecture, in the paper's terms; the defaults are its CIFAR-10 model."""

    levels: int = 3  # L: scales; each halves the sides
    depth: int = 32  # K: flow steps per scale
    width: int = 512  # hidden channels of the coupling nets
    permutation: str = "conv"  # reverse | shuffle | conv (invertible 1x1)
    lu: bool = False  # parameterise the 1x1 convolutions by their LU decomposition
    coupling: str = "affine"  # additive | affine
    learn_top: bool = True  # learn the prior of the last latent
    class_conditional: bool = False  # the prior of the last latent depends on the label
    class_weight: float = 0.01  # weight of the classifier loss (class-conditional only)
    n_bits: int | None = None  # coarsen 256-level data to 2^n_bits levels; None: as the data is
    unroll: int | None = None  # flow steps per turn of the scan; None: what the backend's benchmark chose
    memory: str = "plain"  # of training: plain | remat (recompute activations) | reversible (does not grow with depth)
    init_images: int = 256  # images that initialise the actnorms

    def check(self) -> None:
        """Raise `ConfigError` for impossible values."""
        for key in ("levels", "depth", "width", "init_images"):
            value = getattr(self, key)
            require(value > 0, f"model.{key} is {value}; it must be at least 1.")
        require_choice("model.permutation", self.permutation, permutations.KINDS)
        require_choice("model.coupling", self.coupling, couplings.KINDS)
        require_choice("model.memory", self.memory, chain.MEMORY)
        require(
            not self.lu or self.permutation == "conv",
            f"model.lu is on, but model.permutation is {self.permutation!r}; only conv has an LU form.",
        )
        require(self.class_weight >= 0, f"model.class_weight is {self.class_weight}; it must be 0 or more.")
        require(self.n_bits is None or 1 <= self.n_bits <= 8, f"model.n_bits is {self.n_bits}; it must be from 1 to 8.")
        require(self.unroll is None or self.unroll > 0, f"model.unroll is {self.unroll}; it must be at least 1.")

    def check_data(self, spec: DataSpec, data: DataConfig) -> None:
        """Raise `ConfigError` if the data cannot be modelled so."""
        factor = 2**self.levels
        for side, length in zip(("height", "width"), spec.shape[:2], strict=True):
            below, above = length // factor * factor, -(-length // factor) * factor
            nearest = " or ".join(str(n) for n in sorted({below, above}) if n)
            fewer = max((n for n in range(1, self.levels) if length % 2**n == 0), default=0)
            advice = f"the nearest sizes that work are {nearest}" + (
                f", and model.levels={fewer} works as it is" if fewer else ""
            )
            require(
                length % factor == 0,
                f"images of {spec.name} have {side} {length}, which model.levels={self.levels} cannot halve "
                f"{self.levels} times: {advice}.",
            )
        require(
            self.n_bits is None or spec.levels == 256,
            f"model.n_bits is {self.n_bits}, but {data.name} has {spec.levels} levels; only 256-level data is "
            "coarsened, so leave it None.",
        )
        require(
            not self.class_conditional or len(spec.classes) > 0,
            f"model.class_conditional is on, but {data.name} has no labels.",
        )
