"""The `model` sections of diffusion models and of their classifiers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from glowdiff.config.sections import DataConfig, ModelConfig, SamplingConfig
from glowdiff.diffusion.losses import LOSSES
from glowdiff.diffusion.process import PREDICTIONS, VARIANCES
from glowdiff.diffusion.schedules import SCHEDULES, alpha_bars
from glowdiff.diffusion.text_config import TextConfig
from glowdiff.errors import ConfigError, require, require_choice
from glowdiff.networks.classifier import POOLS
from glowdiff.networks.plan import check_sides, check_unet, default_channel_mult
from glowdiff.samplers import SAMPLERS
from glowdiff.samplers.spacing import SPACINGS, grid
from glowdiff.spec import DataSpec

WEIGHTINGS = ("none", "min_snr")
TIMESTEP_SAMPLERS = ("uniform", "loss_second_moment")


@dataclass(frozen=True)
class NoiseConfig(ModelConfig):
    """What all networks that see x_t share: how noise is added."""

    init_images: int = 1  # nothing depends on data

    schedule: str = "linear"  # linear | cosine (squaredcos_cap_v2 is another name of it)
    timesteps: int = 1000  # T
    zero_terminal_snr: bool = False  # the last timestep is pure noise (Lin et al., 2023)

    def check(self) -> None:
        """Raise `ConfigError` for impossible values."""
        super().check()
        require_choice("model.schedule", self.schedule, SCHEDULES)
        require(self.timesteps > 1, f"model.timesteps is {self.timesteps}; it must be at least 2.")


@dataclass(frozen=True)
class NoisedConfig(NoiseConfig):
    """What denoisers and classifiers share beside that: the UNet's shape in ADM's terms."""

    rescale_timesteps: bool = False  # the network is given t * 1000 / T

    channels: int = 128  # of the first level
    channel_mult: str = ""  # channels of each level over those of the first; empty: ADM's for the size of the images
    res_blocks: int = 2  # per level (the decoder has one more)
    attention: str = "16,8"  # sides, in pixels, at which there is attention; empty: in the middle only
    heads: int = 4  # of attention,
    head_channels: int | None = None  # or channels of each head
    adagn: bool = True  # timestep and label scale and shift the norms (AdaGN); False: they are added
    updown: bool = False  # residual blocks resample (BigGAN); False: strided convolutions do
    new_attention_order: bool = False  # as the 64x64 release stores queries, keys and values: for imported weights
    dropout: float = 0.0
    remat: bool = False  # recompute the activations of each block in the backward pass

    def multipliers(self, side: int) -> tuple[float, ...]:
        """`channel_mult` as numbers, for images of that side.

        Raises:
          ConfigError: it holds anything else.
        """
        if not self.channel_mult:
            return default_channel_mult(side)
        return _numbers("channel_mult", self.channel_mult, float)

    def attention_sides(self) -> tuple[int, ...]:
        """`attention` as numbers.

        Raises:
          ConfigError: it holds anything else.
        """
        return _numbers("attention", self.attention, int)

    def check(self) -> None:
        """Raise `ConfigError` for impossible values."""
        super().check()
        for key in ("channels", "res_blocks", "heads", "head_channels"):
            value = getattr(self, key)
            require(value is None or value > 0, f"model.{key} is {value}; it must be at least 1.")
        require(0 <= self.dropout < 1, f"model.dropout is {self.dropout}; it is a share, from 0 to below 1.")
        self.multipliers(64)
        self.attention_sides()

    def check_data(self, spec: DataSpec, data: DataConfig) -> None:
        """Raise `ConfigError` if the data cannot be modelled so."""
        super().check_data(spec, data)
        height, width, _ = spec.shape
        multipliers = self.multipliers(height)
        check_unet(height, self.channels, multipliers, self.attention_sides(), self.heads, self.head_channels)
        check_sides(height, width, len(multipliers))


@dataclass(frozen=True)
class DiffusionConfig(NoisedConfig, TextConfig):
    """A diffusion model: process, loss and UNet; the defaults are DDPM's on CIFAR-10, but for the published details."""

    prediction: str = "eps"  # what the network predicts: eps | x_0 | v
    variance: str = "fixed_large"  # of p(x_{t-1} | x_t): fixed_small | fixed_large | learned (between the two)
    loss: str = "simple"  # simple | hybrid (plus the bound, for a learned variance) | kl | rescaled_kl
    weighting: str = "none"  # of the simple loss over timesteps: none | min_snr
    min_snr_gamma: float = 5.0
    timestep_sampler: str = "uniform"  # uniform | loss_second_moment (for kl losses)
    class_conditional: bool = False
    label_dropout: float = 0.0  # share of labels withheld in training, which classifier-free guidance needs
    low_res: int | None = None  # super-resolution: the side, in pixels, of the images that are given
    text: bool = False  # captions condition it (GLIDE); how they are read say tokenizer, vocab_size and text_...
    caption_dropout: float = 0.0  # share of captions withheld in training, which classifier-free guidance needs
    inpaint: bool = False  # it is given the known pixels of images of which regions are erased

    # Improved DDPM's and ADM's: a long average, no decay.
    settings: ClassVar[Mapping[str, Any]] = {
        "train.ema_decay": 0.9999, "optimizer.name": "adamw", "optimizer.learning_rate": 1e-4,
    }  # fmt: skip
    sampling_keys: ClassVar[tuple[str, ...]] = (
        "temperature", "sampler", "steps", "spacing", "eta", "guidance_scale", "guidance_from", "guidance_to",
        "guidance_rescale", "threshold", "percentile",
    )  # fmt: skip

    @property
    def context(self) -> int:
        """Tokens of a caption that the model reads; 0: it reads none."""
        return self.text_context if self.text else 0

    def check(self) -> None:
        """Raise `ConfigError` for impossible values."""
        super().check()
        require_choice("model.prediction", self.prediction, PREDICTIONS)
        require_choice("model.variance", self.variance, VARIANCES)
        require_choice("model.loss", self.loss, LOSSES)
        require_choice("model.weighting", self.weighting, WEIGHTINGS)
        require_choice("model.timestep_sampler", self.timestep_sampler, TIMESTEP_SAMPLERS)
        require(
            self.loss != "hybrid" or self.variance == "learned",
            f"model.loss is 'hybrid', which trains a learned variance, but model.variance is {self.variance!r}.",
        )
        require(
            self.weighting == "none" or self.loss == "simple",
            f"model.weighting is {self.weighting!r}, which weighs the simple loss, but model.loss is {self.loss!r}.",
        )
        require(
            not self.zero_terminal_snr or self.prediction != "eps",
            "model.zero_terminal_snr is on, but model.prediction is 'eps', which says nothing of the data where x_t is "
            "pure noise; predict v (or x_0).",
        )
        require(self.min_snr_gamma > 0, f"model.min_snr_gamma is {self.min_snr_gamma}; it must be positive.")
        require(0 <= self.label_dropout < 1, f"model.label_dropout is {self.label_dropout}; it is a share below 1.")
        require(
            self.label_dropout == 0 or self.class_conditional,
            f"model.label_dropout is {self.label_dropout}, but model.class_conditional is off: there are no labels to "
            "withhold.",
        )
        require(self.low_res is None or self.low_res > 0, f"model.low_res is {self.low_res}; it must be positive.")
        require(
            0 <= self.caption_dropout < 1, f"model.caption_dropout is {self.caption_dropout}; it is a share below 1."
        )
        require(
            self.caption_dropout == 0 or self.text,
            f"model.caption_dropout is {self.caption_dropout}, but model.text is off: there are no captions to "
            "withhold.",
        )
        require(
            not (self.text and self.class_conditional),
            "model.text and model.class_conditional are both on; a model is told of captions or of labels.",
        )

    def check_sampling(self, sampling: SamplingConfig) -> None:
        """Raise `ConfigError` for a sampler, steps or guidance that cannot be."""
        require_choice("sampling.sampler", sampling.sampler, tuple(SAMPLERS))
        require_choice("sampling.spacing", sampling.spacing, SPACINGS)
        table = alpha_bars(self.schedule, self.timesteps, zero_terminal_snr=self.zero_terminal_snr)
        noisiest = grid(table, sampling.steps, sampling.spacing).now
        require(
            not self.zero_terminal_snr or sampling.spacing != "even" or noisiest.alpha_bar[-1] == 0,
            f"sampling.steps is {sampling.steps!r}, which leaves out the last timestep, the pure noise that samples "
            "start from (model.zero_terminal_snr is on); use sampling.spacing=trailing.",
        )
        require(
            sampling.guidance_scale is None or self.label_dropout > 0 or self.caption_dropout > 0,
            f"sampling.guidance_scale is {sampling.guidance_scale}, but this model has never been without "
            + ("captions (model.caption_dropout" if self.text else "labels (model.label_dropout")
            + " is 0), so there is nothing to guide away from. "
            + ("CLIP can guide it." if self.text else "A classifier can guide it."),
        )
        _check_used(sampling)

    def check_data(self, spec: DataSpec, data: DataConfig) -> None:
        """Raise `ConfigError` if the data cannot be modelled so."""
        super().check_data(spec, data)
        require(
            not self.class_conditional or len(spec.classes) > 0,
            f"model.class_conditional is on, but {data.name} has no labels.",
        )
        require(
            not self.text or spec.captions,
            f"model.text is on, but {data.name} has no captions. openmoji has, and a folder with a metadata.csv "
            "(columns file_name and text) or a .txt beside each image.",
        )
        if self.low_res is not None:
            height, width, _ = spec.shape
            require(
                height == width and self.low_res < height and height % self.low_res == 0,
                f"model.low_res is {self.low_res}, but images of {spec.name} are {height}x{width} pixels; it must be a "
                "smaller side that divides theirs, of square images.",
            )


@dataclass(frozen=True)
class ClassifierConfig(NoisedConfig):
    """A classifier of noised images, to guide diffusion models of the same schedule; the defaults are ADM's."""

    attention: str = "32,16,8"
    head_channels: int | None = 64
    updown: bool = True
    pool: str = "attention"  # adaptive | attention | spatial | spatial_v2: from features to logits

    settings: ClassVar[Mapping[str, Any]] = {
        "train.ema_decay": 0.0, "optimizer.name": "adamw", "optimizer.learning_rate": 3e-4,
        "optimizer.weight_decay": 0.05,
    }  # fmt: skip
    sampling_keys: ClassVar[tuple[str, ...]] = ()

    def check(self) -> None:
        """Raise `ConfigError` for impossible values."""
        super().check()
        require_choice("model.pool", self.pool, POOLS)

    def check_data(self, spec: DataSpec, data: DataConfig) -> None:
        """Raise `ConfigError` if the data cannot be modelled so."""
        super().check_data(spec, data)
        if not spec.classes:
            raise ConfigError(f"a classifier needs labels, but {data.name} has none.")


def same_noise(model: NoiseConfig, guide: NoiseConfig) -> str | None:
    """What of the noise two networks were trained on differs, in words; None: nothing."""
    same = {"squaredcos_cap_v2": "cosine"}  # two names of one schedule
    for key in ("schedule", "timesteps", "zero_terminal_snr"):
        mine, theirs = getattr(model, key), getattr(guide, key)
        if same.get(mine, mine) != same.get(theirs, theirs):
            return f"model.{key} is {mine!r} and the guide's is {theirs!r}"
    return None


def _check_used(sampling: SamplingConfig) -> None:
    """Raise `ConfigError` for numbers that nothing would look at."""
    unguided = "sampling.guidance_scale is not given, so there is no guidance for it to change"
    reasons = {
        "eta": (sampling.sampler != "ddim", f"sampling.sampler is {sampling.sampler!r}; only ddim adds noise by eta"),
        "percentile": (sampling.threshold != "dynamic", f"sampling.threshold is {sampling.threshold!r}, not dynamic"),
        "guidance_from": (sampling.guidance_scale is None, unguided),
        "guidance_to": (sampling.guidance_scale is None, unguided),
        "guidance_rescale": (sampling.guidance_scale is None, unguided),
    }
    for key, (unused, reason) in reasons.items():
        value, usual = getattr(sampling, key), getattr(SamplingConfig, key)
        require(not unused or value == usual, f"sampling.{key} is {value}, but {reason}. Leave it at {usual}.")


def _numbers(key: str, text: str, kind: type) -> tuple[Any, ...]:
    """The numbers, separated by commas, of a key."""
    try:
        return tuple(kind(part) for part in text.split(",")) if text.strip() else ()
    except ValueError as error:
        example = "32,16,8" if kind is int else "1,2,3,4"
        raise ConfigError(
            f"model.{key} is {text!r}; it must be {'whole ' if kind is int else ''}numbers with commas between them, "
            f"such as {example!r}."
        ) from error
