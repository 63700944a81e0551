"""Which runs a figure needs: its variants, their configurations, and what the paper says of their order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from glowdiff.catalog.parse import defaults, parse
from glowdiff.config.sections import Config
from glowdiff.errors import ConfigError
from glowdiff.training.experiment import build, parameter_count

PERMUTATIONS = {"reverse": "reverse", "shuffle": "shuffle", "conv": "1x1 conv"}
COUPLINGS = ("additive", "affine")
LEVELS = (2, 3, 4)
CLOSE = 0.04  # how far the parameter counts of the compared models may be apart


@dataclass(frozen=True)
class Scale:
    """How big a figure's runs are. The defaults suit two CPU cores."""

    data: str = "photos"
    size: int | None = 16  # pixels
    levels: int = 2  # L of Glow and RealNVP, where it is not what is varied
    depth: int = 8  # K, flow steps per level
    width: int = 32  # hidden channels of Glow's coupling nets
    batch: int = 32
    steps: int = 1_000
    evaluations: int = 10  # points of a curve


class Variant(NamedTuple):
    """One curve of a figure."""

    name: str  # as people read it
    config: Any  # a `ConfigDict`; only its seed is still open


# Chains of variants, best first, that the paper claims: by figure.
CLAIMS: dict[str, tuple[tuple[str, ...], ...]] = {
    "permutation": (
        *(tuple(f"{kind} ({coupling})" for kind in ("1x1 conv", "shuffle", "reverse")) for coupling in COUPLINGS),
        *(tuple(f"{kind} ({coupling})" for coupling in ("affine", "additive")) for kind in PERMUTATIONS.values()),
    ),
    "models": (("Glow", "RealNVP", "NICE"),),
}


def variants(figure: str, scale: Scale) -> list[Variant]:
    """The curves of a figure.

    Raises:
      ConfigError: `scale` asks for what the data or the models do not allow.
    """
    if figure == "permutation":
        return [
            Variant(f"{label} ({coupling})", glow(scale, permutation=kind, coupling=coupling))
            for coupling in COUPLINGS
            for kind, label in PERMUTATIONS.items()
        ]
    if figure == "depth":
        return [Variant(f"L = {levels}", glow(scale, levels=levels)) for levels in LEVELS]
    if figure == "models":
        return models(scale)
    return [Variant("Glow", glow(scale))]


def models(scale: Scale) -> list[Variant]:
    """NICE, RealNVP and Glow with as many parameters each, up to `CLOSE`."""
    flow = glow(scale)
    target = count(parse(flow))
    nice = training(defaults("nice"), scale)
    realnvp = training(defaults("realnvp"), scale)
    realnvp.model.update(levels=scale.levels, blocks=1)  # deeper nets would be a few channels wide
    realnvp.train.ema_decay = 0.0  # its moving statistics are those of the current weights
    return [
        Variant("NICE", with_parameters(nice, target)),
        Variant("RealNVP", with_parameters(realnvp, target)),
        Variant("Glow", flow),
    ]


def glow(scale: Scale, **model: Any) -> Any:
    """A Glow of that scale; `model` changes keys of its section."""
    config = defaults("glow")
    config.model.update(levels=scale.levels, depth=scale.depth, width=scale.width)
    config.model.update(**model)
    return training(config, scale)


def training(config: Any, scale: Scale) -> Any:
    """`config` with the data and the training that all variants share."""
    config.data.update(name=scale.data, size=scale.size, flip=scale.data == "photos")
    config.model.init_images = 256
    config.optimizer.update(learning_rate=1e-3, warmup_steps=min(100, scale.steps // 10), decay="cosine")
    config.train.update(
        steps=scale.steps, batch=scale.batch, ema_decay=0.99, log_every=scale.steps, checkpoint_every=scale.steps
    )
    config.eval.update(every=max(1, scale.steps // scale.evaluations), batch=128)
    config.pictures.update(every=0, images=16)
    return config


def with_parameters(config: Any, target: int) -> Any:
    """`config` with the `model.width` whose parameter count is nearest to `target`.

    Raises:
      ConfigError: none comes within `CLOSE` of it.
    """

    @cache
    def at(width: int) -> int:
        config.model.width = width
        return count(parse(config))

    high = 1
    while at(high) < target:
        high *= 2
    low = high // 2  # too few parameters, or no width at all
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if at(middle) < target else (low, middle)
    best = min((width for width in (low, high) if width), key=lambda width: abs(at(width) - target))
    config.model.width, size = best, at(best)
    if abs(size - target) > CLOSE * target:
        raise ConfigError(
            f"no model.width gives {config.method} about {target:,} parameters; the nearest, {best}, gives {size:,}. "
            "Try a larger --width or --depth."
        )
    return config


def count(config: Config) -> int:
    """Trained numbers of a configuration's model; computes shapes only."""
    return parameter_count(build(config).abstract_state())
