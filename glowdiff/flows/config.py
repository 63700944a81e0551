"""The `model` sections of the flows' configurations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from glowdiff.config.sections import DataConfig, ModelConfig, TrainConfig
from glowdiff.errors import require, require_choice
from glowdiff.flows import base, chain
from glowdiff.flows.bijections import couplings, permutations
from glowdiff.spec import DataSpec


@dataclass(frozen=True)
class FlowConfig(ModelConfig):
    """What all flows share."""

    n_bits: int | None = None  # coarsen 256-level data to 2^n_bits levels; None: as the data is

    def check(self) -> None:
        """Raise `ConfigError` for impossible values."""
        super().check()
        require(self.n_bits is None or 1 <= self.n_bits <= 8, f"model.n_bits is {self.n_bits}; it must be from 1 to 8.")

    def check_data(self, spec: DataSpec, data: DataConfig) -> None:
        """Raise `ConfigError` if the data cannot be modelled so."""
        require(
            self.n_bits is None or spec.levels == 256,
            f"model.n_bits is {self.n_bits}, but {data.name} has {spec.levels} levels; only 256-level data is "
            "coarsened, so leave it None.",
        )


@dataclass(frozen=True)
class GlowConfig(FlowConfig):
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
    unroll: int | None = None  # flow steps per turn of the scan; None: what suits the backend and memory
    memory: str = "plain"  # of training: plain | remat (recompute activations) | reversible (does not grow with depth)

    def check(self) -> None:
        """Raise `ConfigError` for impossible values."""
        super().check()
        _require_positive(self, "levels", "depth", "width", "unroll")
        require_choice("model.permutation", self.permutation, permutations.KINDS)
        require_choice("model.coupling", self.coupling, couplings.KINDS)
        require_choice("model.memory", self.memory, chain.MEMORY)
        require(
            not self.lu or self.permutation == "conv",
            f"model.lu is on, but model.permutation is {self.permutation!r}; only conv has an LU form.",
        )
        require(self.class_weight >= 0, f"model.class_weight is {self.class_weight}; it must be 0 or more.")

    def check_data(self, spec: DataSpec, data: DataConfig) -> None:
        """Raise `ConfigError` if the data cannot be modelled so."""
        super().check_data(spec, data)
        _require_halving(spec, self.levels, self.levels)
        require(
            not self.class_conditional or len(spec.classes) > 0,
            f"model.class_conditional is on, but {data.name} has no labels.",
        )


@dataclass(frozen=True)
class RealNVPConfig(FlowConfig):
    """RealNVP's architecture, in the paper's terms; the defaults are its CIFAR-10 model."""

    levels: int = 2  # scales; each but the last halves the sides
    depth: int = 3  # couplings of each kind per scale; the last scale has one more
    width: int = 64  # feature maps of the first scale's residual nets; doubled at each scale, and in channel couplings
    blocks: int = 8  # residual blocks of each net
    batch_norm: bool = True  # normalise by batches in training, by moving averages otherwise
    l2: float = 5e-5  # weight of the squares of the kernels' magnitudes and of the couplings' scales
    unroll: int | None = None  # couplings per turn of the scan; None: what suits the backend and memory
    memory: str = "plain"  # of training: plain | remat (recompute activations) | reversible (does not grow with depth)

    # Averaged weights do not fit the moving statistics, which are those of the current weights.
    settings: ClassVar[Mapping[str, Any]] = {"train.ema_decay": 0.0, "train.clip": 100.0}

    def check(self) -> None:
        """Raise `ConfigError` for impossible values."""
        super().check()
        _require_positive(self, "levels", "depth", "width", "blocks", "unroll")
        require_choice("model.memory", self.memory, chain.MEMORY)
        require(self.l2 >= 0, f"model.l2 is {self.l2}; it must be 0 or more.")

    def check_train(self, train: TrainConfig) -> None:
        """Raise `ConfigError` if training so would mislead."""
        require(
            train.ema_decay == 0 or not self.batch_norm,
            f"train.ema_decay is {train.ema_decay}, but model.batch_norm keeps moving statistics, which belong to the "
            "current weights and not to averaged ones; set train.ema_decay=0 or model.batch_norm=False.",
        )

    def check_data(self, spec: DataSpec, data: DataConfig) -> None:
        """Raise `ConfigError` if the data cannot be modelled so."""
        super().check_data(spec, data)
        _require_halving(spec, self.levels - 1, self.levels)


@dataclass(frozen=True)
class NICEConfig(FlowConfig):
    """NICE's architecture, in the paper's terms; the defaults are its MNIST model."""

    depth: int = 4  # couplings
    hidden_layers: int = 5  # of each coupling's net
    width: int = 1000  # units of each hidden layer
    prior: str = "logistic"  # normal | logistic: density of the latents

    def check(self) -> None:
        """Raise `ConfigError` for impossible values."""
        super().check()
        _require_positive(self, "depth", "hidden_layers", "width")
        require_choice("model.prior", self.prior, base.KINDS)

    def check_data(self, spec: DataSpec, data: DataConfig) -> None:
        """Raise `ConfigError` if the data cannot be modelled so."""
        super().check_data(spec, data)
        height, width, channels = spec.shape
        require(height * width * channels > 1, f"images of {spec.name} are single numbers, which NICE cannot halve.")


def _require_positive(config: FlowConfig, *keys: str) -> None:
    for key in keys:
        value = getattr(config, key)
        require(value is None or value > 0, f"model.{key} is {value}; it must be at least 1.")


def _require_halving(spec: DataSpec, times: int, levels: int) -> None:
    """Require that both sides of the images can be halved so often; the message names the nearest sizes that can."""
    factor = 2**times

    def divides(times: int) -> bool:
        return all(length % 2**times == 0 for length in spec.shape[:2])

    fewer = max((n for n in range(1, levels) if divides(times - levels + n)), default=0)
    for side, length in zip(("height", "width"), spec.shape[:2], strict=True):
        below, above = length // factor * factor, -(-length // factor) * factor
        nearest = " or ".join(str(n) for n in sorted({below, above}) if n)
        advice = f"the nearest sizes that work are {nearest}" + (
            f", and model.levels={fewer} works as it is" if fewer else ""
        )
        require(
            length % factor == 0,
            f"images of {spec.name} have {side} {length}, which model.levels={levels} cannot halve {times} times: "
            f"{advice}.",
        )
