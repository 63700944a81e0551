"""The sections of a configuration that every method shares, as frozen dataclasses.

The `model` section depends on `config.method`; its dataclass lives beside the model and is found through
`glowdiff.catalog.methods`. Each field's comment is its documentation; `check` methods word what is wrong with a single
section, `check_train` and `check_data` of the model what is wrong between sections.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar

from glowdiff.config.evaluation import EvalConfig, PicturesConfig
from glowdiff.config.numbers import check_number, check_seed
from glowdiff.config.options import SampleOptions
from glowdiff.config.parts import Part
from glowdiff.errors import require, require_choice
from glowdiff.spec import DataSpec


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how they are read."""

    # digits | photos | openmoji | folder | arrays | the name of any TFDS data set (cifar10, lsun/bedroom ...)
    name: str = "digits"
    # folder: the folder of images (sub-folder = class; captions in x.txt beside x.png, or metadata.csv or .jsonl)
    path: str | None = None  # arrays: the .npz file
    dir: str | None = None  # where prepared sets are kept; default ~/.cache/glowdiff/data
    # Side in pixels: photos 16, 32 or 64; openmoji 16 ... 256; folder and TFDS: centre-cropped and resized to it.
    size: int | None = None
    background: str = "white"  # openmoji, whose pictures are transparent: white | black | gray | "#rrggbb"
    train_split: str = "train"  # TFDS only: split used for training
    test_split: str = "test"  # TFDS only: split used for evaluation
    flip: bool = False  # training images are mirrored at random
    shift: int = 0  # training images are shifted at random by up to this many pixels, edges repeated
    max_bad: float = 0.5  # folder: the share of files that may be refused before preparing the set fails
    test_fraction: float = 0.1  # folder and arrays without a test set of their own: the share held out, by a fixed hash
    latents: str | None = None  # a folder of `glowdiff prepare latents`, which training reads in place of images
    # Sets with captions: captions "a|b|..." whose pictures are kept out of training and added to the test set.
    hold_out: str = ""

    def check(self) -> None:
        """Raise `ConfigError` for values that no data set accepts."""
        require(bool(self.name), "data.name is empty; try digits, photos, openmoji, folder or a TFDS set: cifar10 ...")
        needs_path = self.name in ("folder", "arrays")
        require(
            not needs_path or bool(self.path),
            f"data.name is {self.name!r}, which needs data.path: "
            + ("the folder of your images." if self.name == "folder" else "an .npz file (arr_0 uint8 NHWC)."),
        )
        require(
            needs_path or not self.path,
            f"data.path is {self.path!r}, but data.name is {self.name!r}; did you mean data.name=folder? If "
            "not, leave data.path empty: --config.data.path=",
        )
        require(
            self.size is None or self.size > 0, f"data.size is {self.size}; it must be a positive number of pixels."
        )
        require(
            self.name == "openmoji" or self.background == "white",
            f"data.background is {self.background!r}, but data.name is {self.name!r}; only the pictures of openmoji "
            "are drawn on a background, so leave data.background out.",
        )
        require(
            re.fullmatch(r"white|black|gray|#[0-9a-fA-F]{6}", self.background) is not None,
            f"data.background is {self.background!r}; it must be white, black, gray or a colour such as '#ff8000'.",
        )
        require(self.shift >= 0, f"data.shift is {self.shift}; it must be 0 or more pixels.")
        require(0 <= self.max_bad <= 1, f"data.max_bad is {self.max_bad}; it is a share, from 0 to 1.")
        require(
            0 < self.test_fraction < 1, f"data.test_fraction is {self.test_fraction}; it is a share between 0 and 1."
        )


@dataclass(frozen=True)
class TrainConfig:
    """How long, how much at once, and what is kept."""

    steps: int = 10_000  # optimiser steps in all
    batch: int = 64  # images per step, over all devices and processes
    accumulate: int = 1  # micro-batches per step, whose gradients are averaged
    ema_decay: float = 0.999  # of the average of the weights, over 1 / (1 - ema_decay) steps; 0: the weights themselves
    init_from: str | None = None  # a workdir of whose weights training starts, to fine-tune; None: from scratch
    clip: float | None = None  # gradients are scaled down to this global norm; None: never
    max_skips: int = 20  # consecutive non-finite steps after which training aborts
    log_every: int = 100  # steps between lines of metrics.jsonl
    checkpoint_every: int = 1_000  # steps between checkpoints (one is also written at the end and at SIGTERM)

    def check(self) -> None:
        """Raise `ConfigError` for impossible values."""
        for key in ("steps", "batch", "accumulate", "max_skips", "log_every", "checkpoint_every"):
            value = getattr(self, key)
            require(value > 0, f"train.{key} is {value}; it must be at least 1.")
        require(
            self.batch % self.accumulate == 0,
            f"train.batch is {self.batch}, which train.accumulate={self.accumulate} does not divide.",
        )
        require(0 <= self.ema_decay < 1, f"train.ema_decay is {self.ema_decay}; it must be in [0, 1).")
        require(self.clip is None or self.clip > 0, f"train.clip is {self.clip}; it must be positive, or None.")


@dataclass(frozen=True)
class OptimizerConfig:
    """Update rule and learning rate."""

    name: str = "adam"  # adam | adamw | adamax (Glow's own)
    learning_rate: float = 1e-3  # after warm-up
    warmup_steps: int = 0  # linear, from 0
    decay: str = "constant"  # constant | cosine | linear, from the end of warm-up to 0 at decay_steps
    decay_steps: int | None = None  # None: train.steps
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0  # adamw only, of kernels only
    mu_dtype: str = "float32"  # float32 | bfloat16, in which the mean of gradients is kept: 2 bytes less a parameter

    def check(self) -> None:
        """Raise `ConfigError` for impossible values."""
        require_choice("optimizer.name", self.name, ("adam", "adamw", "adamax"))
        require_choice("optimizer.mu_dtype", self.mu_dtype, ("float32", "bfloat16"))
        require_choice("optimizer.decay", self.decay, ("constant", "cosine", "linear"))
        rate = self.learning_rate
        require(0 < rate < math.inf, f"optimizer.learning_rate is {rate}; it must be positive, and finite.")
        require(self.warmup_steps >= 0, f"optimizer.warmup_steps is {self.warmup_steps}; it must be 0 or more.")
        require(
            self.decay_steps is None or self.decay_steps > self.warmup_steps,
            f"optimizer.decay_steps is {self.decay_steps}; it must exceed optimizer.warmup_steps={self.warmup_steps}.",
        )
        for key in ("b1", "b2"):
            value = getattr(self, key)
            require(0 <= value < 1, f"optimizer.{key} is {value}; it must be in [0, 1).")
        require(self.eps > 0, f"optimizer.eps is {self.eps}; it must be positive.")
        require(
            self.weight_decay == 0 or self.name == "adamw",
            f"optimizer.weight_decay is {self.weight_decay}, but optimizer.name is {self.name!r}; "
            "only adamw decays weights.",
        )


@dataclass(frozen=True)
class MeshConfig:
    """How the devices are arranged; data * fsdp must be their number."""

    data: int = -1  # copies of the model; -1: whatever remains
    fsdp: int = 1  # devices over which parameters and optimiser state are split

    def check(self) -> None:
        """Raise `ConfigError` for impossible values."""
        require(self.data == -1 or self.data > 0, f"mesh.data is {self.data}; it must be positive, or -1 for the rest.")
        require(self.fsdp > 0, f"mesh.fsdp is {self.fsdp}; it must be at least 1.")


@dataclass(frozen=True)
class ModelConfig:
    """What the `model` section of every method can do and holds."""

    init_images: int = 256  # images of the batch that initialises what depends on data

    # Values of other sections, by dotted key, with which a configuration of this model starts.
    settings: ClassVar[Mapping[str, Any]] = {}
    # The options that its samples depend on, see `SampleOptions`.
    options: ClassVar[tuple[str, ...]] = ("temperature",)

    @property
    def captions(self) -> Any:
        """How captions are read, a `glowdiff.networks.captions.Captions`; None: they are not."""
        return None

    @property
    def latent(self) -> bool:
        """Whether it works in an autoencoder's latents."""
        return False

    def parts(self) -> Iterator[tuple[str, Part]]:
        """The sub-sections, by key."""
        for each in fields(self):
            if "parts" in each.metadata:
                yield f"model.{each.name}", getattr(self, each.name)

    def frozen(self) -> Mapping[str, str]:
        """Workdirs, by name, of models that serve this one as they are and are not trained with it."""
        parts = {key.removeprefix("model."): part.frozen_workdir for key, part in self.parts()}
        return {key: workdir for key, workdir in parts.items() if workdir is not None}

    def starting(self) -> Mapping[str, Any]:
        """The `settings` of the section and of its parts."""
        values = dict(self.settings)
        for _, part in self.parts():
            values |= part.settings
        return values

    def serving(self) -> Any:
        """The section of a copy that serves another model: without what only its own training needs."""
        return self

    def check(self) -> None:
        """Raise `ConfigError` for impossible values."""
        require(self.init_images > 0, f"model.init_images is {self.init_images}; it must be at least 1.")
        for key, part in self.parts():
            part.check(key)

    def check_train(self, train: TrainConfig) -> None:
        """Raise `ConfigError` if the model cannot be trained so."""

    def check_sampling(self, options: SampleOptions, prefix: str = "sampling.") -> None:
        """Raise `ConfigError` if the model's samples cannot be drawn so.

        Args:
          options: checked by themselves.
          prefix: what stands in front of their names in messages.
        """

    def check_data(self, spec: DataSpec, data: DataConfig) -> None:
        """Raise `ConfigError` if the data cannot be modelled so."""


@dataclass(frozen=True)
class Config:
    """A whole, checked configuration."""

    method: str
    model: Any  # the `ModelConfig` that glowdiff.catalog.methods names for the method
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    dtype: str = (
        "float32"  # of the networks' arithmetic: float32 | bfloat16 | float64 (references; needs JAX_ENABLE_X64)
    )
    eval: EvalConfig = field(default_factory=EvalConfig)
    pictures: PicturesConfig = field(default_factory=PicturesConfig)
    sampling: SampleOptions = field(default_factory=SampleOptions)
    seed: int = 0

    def check(self) -> None:
        """Raise `ConfigError` for values wrong in any section by itself."""
        require_choice("dtype", self.dtype, ("float32", "bfloat16", "float64"))
        check_seed("seed", self.seed)
        for section in (self.model, self.data, self.train, self.optimizer, self.mesh, self.eval, self.pictures):
            section.check()
        self.sampling.check()
        self.sampling.check_use(self.model.options)
        require(
            self.data.latents is None or self.model.latent,
            f"data.latents is {self.data.latents}, but this model of method {self.method} sees pixels; models with "
            "model.codec.name=autoencoder work in latents.",
        )
        self.model.check_train(self.train)
        self.model.check_sampling(self.sampling)
        _check_finite(self)


def _check_finite(section: Any, prefix: str = "") -> None:
    """Raise `ConfigError` for a number of a section, or of one within it, that is infinite or no number."""
    for each in fields(section):
        value, key = getattr(section, each.name), prefix + each.name
        if is_dataclass(value):
            _check_finite(value, f"{key}.")
        elif isinstance(value, float):
            check_number(key, value)
