"""The `model` sections of diffusion models, of their classifiers and of CLIP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from glowdiff.config.options import SampleOptions
from glowdiff.config.parts import part
from glowdiff.config.sections import DataConfig, ModelConfig, TrainConfig
from glowdiff.diffusion.codec import CODECS
from glowdiff.diffusion.losses import LOSSES
from glowdiff.diffusion.process import CLIP_NOISES, NOISES, PROCESSES
from glowdiff.errors import ConfigError, require, require_choice
from glowdiff.networks.adm import CLASSIFIERS
from glowdiff.networks.captions import CLIP_TEXTS, TEXTS, Captions
from glowdiff.networks.denoisers import DENOISERS
from glowdiff.networks.towers import TOWERS
from glowdiff.samplers import SAMPLERS
from glowdiff.samplers.spacing import EARLY, SPACINGS, grid
from glowdiff.spec import DataSpec

WEIGHTINGS = ("none", "min_snr")
TIMESTEP_SAMPLERS = ("uniform", "loss_second_moment")


@dataclass(frozen=True)
class DiffusionConfig(ModelConfig):
    """A diffusion model: its parts, its loss, and what it is told."""

    init_images: int = 1  # nothing depends on data

    process: Any = part(PROCESSES, "ddpm")
    network: Any = part(DENOISERS, "adm")
    text: Any = part(TEXTS, "none")  # captions condition it: glide
    codec: Any = part(CODECS, "pixels")

    loss: str = "simple"  # simple | hybrid (plus the bound, for a learned variance) | kl | rescaled_kl
    weighting: str = "none"  # of the simple loss over timesteps: none | min_snr
    min_snr_gamma: float = 5.0
    timestep_sampler: str = "uniform"  # uniform | loss_second_moment (for kl losses)

    class_conditional: bool = False
    label_dropout: float = 0.0  # share of labels withheld in training, which classifier-free guidance needs
    caption_dropout: float = 0.0  # share of captions withheld in training, likewise
    low_res: int | None = None  # super-resolution: the side, in pixels, of the images that are given
    noise_levels: int = 0  # that these may be noised at, of the process, of which the network is told; 0: never noised
    max_noise_level: int = 350  # of them in training
    inpaint: bool = False  # it is given the known pixels of images of which regions are erased

    # Improved DDPM's and ADM's: a long average, no decay.
    settings: ClassVar[Mapping[str, Any]] = {
        "train.ema_decay": 0.9999, "optimizer.name": "adamw", "optimizer.learning_rate": 1e-4,
    }  # fmt: skip
    options: ClassVar[tuple[str, ...]] = tuple(each.name for each in fields(SampleOptions))

    @property
    def captions(self) -> Captions | None:
        """How captions are read; None: they are not."""
        return self.text if isinstance(self.text, Captions) else None

    @property
    def latent(self) -> bool:
        """Whether it works in an autoencoder's latents."""
        return self.codec.frozen_workdir is not None

    def check(self) -> None:
        """Raise `ConfigError` for impossible values."""
        super().check()
        require_choice("model.loss", self.loss, LOSSES)
        require_choice("model.weighting", self.weighting, WEIGHTINGS)
        require_choice("model.timestep_sampler", self.timestep_sampler, TIMESTEP_SAMPLERS)
        variance = self.process.variance
        require(
            self.loss != "hybrid" or variance == "learned",
            f"model.loss is 'hybrid', which trains a learned variance, but model.process.variance is {variance!r}.",
        )
        require(
            self.weighting == "none" or self.loss == "simple",
            f"model.weighting is {self.weighting!r}, which weighs the simple loss, but model.loss is {self.loss!r}.",
        )
        require(self.min_snr_gamma > 0, f"model.min_snr_gamma is {self.min_snr_gamma}; it must be positive.")
        for key, there, what in (
            ("label_dropout", self.class_conditional, "model.class_conditional is off: there are no labels"),
            ("caption_dropout", self.captions is not None, "model.text.name is 'none': there are no captions"),
        ):
            value = getattr(self, key)
            require(0 <= value < 1, f"model.{key} is {value}; it is a share below 1.")
            require(value == 0 or there, f"model.{key} is {value}, but {what} to withhold.")
        require(self.low_res is None or self.low_res > 0, f"model.low_res is {self.low_res}; it must be positive.")
        self._check_noise_levels()

    def _check_noise_levels(self) -> None:
        levels, most = self.noise_levels, self.max_noise_level
        if levels == 0:
            return
        require(self.low_res is not None, f"model.noise_levels is {levels}, but model.low_res is off.")
        require(
            self.network.name == "ldm",
            f"model.noise_levels is {levels}, of which networks of name {self.network.name} cannot be told; ldm can.",
        )
        require(
            0 <= most < levels <= self.process.timesteps,
            f"model.noise_levels is {levels} and model.max_noise_level {most}; the first must be at most "
            f"model.process.timesteps={self.process.timesteps}, and the second below it.",
        )

    def check_sampling(self, options: SampleOptions, prefix: str = "sampling.") -> None:
        """Raise `ConfigError` for a sampler, steps or guidance that cannot be."""
        require_choice(f"{prefix}sampler", options.sampler, SAMPLERS)
        require_choice(f"{prefix}spacing", options.spacing, SPACINGS)
        require(
            options.threshold == "none" or not self.latent,
            f"{prefix}threshold is {options.threshold!r}, which keeps pixels between black and white, but this model "
            f"works in latents (model.codec.name={self.codec.name}), which have no such bounds; it must be none.",
        )
        noisiest = grid(self.process.alpha_bars(), options.steps, options.spacing, final=options.final).now
        require(
            not self.process.zero_terminal_snr or options.spacing not in EARLY or noisiest.alpha_bar[-1] == 0,
            f"{prefix}steps is {options.steps!r}, which leaves out the last timestep, the pure noise that samples "
            f"start from (model.process.zero_terminal_snr is on); use {prefix}spacing=trailing.",
        )
        text = self.captions is not None
        require(
            options.guidance_scale is None or self.label_dropout > 0 or self.caption_dropout > 0,
            f"{prefix}guidance_scale is {options.guidance_scale}, but this model has never been without "
            + ("captions (model.caption_dropout" if text else "labels (model.label_dropout")
            + " is 0), so there is nothing to guide away from. "
            + ("CLIP can guide it." if text else "A classifier can guide it."),
        )

    def check_data(self, spec: DataSpec, data: DataConfig) -> None:
        """Raise `ConfigError` if the data cannot be modelled so."""
        super().check_data(spec, data)
        height, width, _ = spec.shape
        pixels = "model.inpaint is on" if self.inpaint else f"model.low_res is {self.low_res}"
        require(
            data.latents is None or not (self.inpaint or self.low_res),
            f"data.latents is {data.latents}, but {pixels}, for which training needs the images themselves.",
        )
        if not self.latent:  # latents' size is known where the autoencoder is
            self.network.check_shape(height, width)
        require(
            not self.class_conditional or len(spec.classes) > 0,
            f"model.class_conditional is on, but {data.name} has no labels.",
        )
        require(
            self.captions is None or spec.captions,
            f"model.text.name is {self.text.name!r}, but {data.name} has no captions. openmoji has, and a folder with "
            "a metadata.csv (columns file_name and text) or a .txt beside each image.",
        )
        if self.low_res is not None:
            require(
                height == width and self.low_res < height and height % self.low_res == 0,
                f"model.low_res is {self.low_res}, but images of {spec.name} are {height}x{width} pixels; it must be a "
                "smaller side that divides theirs, of square images.",
            )


@dataclass(frozen=True)
class ClassifierConfig(ModelConfig):
    """A classifier of noised images, to guide diffusion models of the same noise."""

    init_images: int = 1

    process: Any = part(NOISES, "ddpm")
    network: Any = part(CLASSIFIERS, "adm")

    settings: ClassVar[Mapping[str, Any]] = {
        "train.ema_decay": 0.0, "optimizer.name": "adamw", "optimizer.learning_rate": 3e-4,
        "optimizer.weight_decay": 0.05,
    }  # fmt: skip
    options: ClassVar[tuple[str, ...]] = ()

    def check_data(self, spec: DataSpec, data: DataConfig) -> None:
        """Raise `ConfigError` if the data cannot be modelled so."""
        super().check_data(spec, data)
        self.network.check_shape(*spec.shape[:2])
        if not spec.classes:
            raise ConfigError(f"a classifier needs labels, but {data.name} has none.")


@dataclass(frozen=True)
class ClipConfig(ModelConfig):
    """A CLIP of noised images: two transformers that agree on which caption is whose."""

    init_images: int = 1

    process: Any = part(CLIP_NOISES, "ddpm")
    network: Any = part(TOWERS, "clip")
    text: Any = part(CLIP_TEXTS, "clip")
    noised: bool = True  # sees noised images, to guide; False: plain CLIP, which takes every image for that of t = 0

    settings: ClassVar[Mapping[str, Any]] = {
        "train.ema_decay": 0.0, "optimizer.name": "adamw", "optimizer.learning_rate": 3e-4,
        "optimizer.weight_decay": 0.1, "optimizer.b2": 0.98, "optimizer.eps": 1e-6,
    }  # fmt: skip
    options: ClassVar[tuple[str, ...]] = ()

    @property
    def captions(self) -> Captions:
        """How captions are read."""
        return self.text

    def check_train(self, train: TrainConfig) -> None:
        """Raise `ConfigError` if the model cannot be trained so."""
        super().check_train(train)
        require(
            train.accumulate == 1,
            f"train.accumulate is {train.accumulate}, but CLIP compares all images and captions of a batch with each "
            "other; micro-batches would see only their own. To save memory, set model.network.remat=True.",
        )

    def check_data(self, spec: DataSpec, data: DataConfig) -> None:
        """Raise `ConfigError` if the data cannot be modelled so."""
        super().check_data(spec, data)
        require(spec.captions, f"CLIP learns from captions, but {data.name} has none; try data.name=openmoji.")
        self.network.check_shape(spec, data.name)
