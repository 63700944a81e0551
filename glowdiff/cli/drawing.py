"""What `sample.py` and `evaluate.py` take about how samples are drawn, and what draws them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np

from glowdiff.cli import told
from glowdiff.cli.flags import Flags, Parsed
from glowdiff.config.numbers import STRONGEST
from glowdiff.config.options import configured
from glowdiff.diffusion.conditions import FILES
from glowdiff.errors import ConfigError, require
from glowdiff.inference.cascade import Cascade
from glowdiff.inference.drawer import Samples
from glowdiff.inference.model import Model, load
from glowdiff.inference.request import request
from glowdiff.method import row
from glowdiff.trained import Trained

OPTIONS = [each.name for each in configured()]
UPSAMPLER = "upsampler_"  # in front of the options of upsamplers
OF_UPSAMPLERS = [UPSAMPLER + name for name in OPTIONS]
GUIDES = {"classifier": "a classifier of noised images", "clip": "a CLIP of noised images, towards the prompts"}
SCALES = [f"{name}_scale" for name in GUIDES]
_WORDS = ("label", "prompt", "prompts", "negative_prompt", "long_prompts", "noise_level")
TOLD = [*_WORDS, *FILES, "upsampler", *GUIDES, *SCALES]
DECIDING = ["seed", *TOLD, *OPTIONS, *OF_UPSAMPLERS]  # flags on which samples depend, beside the checkpoint
_NEEDS = {**{f"{name}_scale": name for name in GUIDES}, **dict.fromkeys(OF_UPSAMPLERS, "upsampler")}


class Drawing(NamedTuple):
    """What draws samples, and what it is told."""

    draw: Callable[..., Samples]  # `Model.draw` or `Cascade.draw`
    last: Model  # whose images the samples are
    of_all: Mapping[str, Any]  # choices of a call that are the same for all samples
    of_each: Mapping[str, Sequence[Any] | np.ndarray]  # those that samples take in turns
    guides: Mapping[str, Model] = MappingProxyType({})  # by name
    upsamplers: tuple[Model, ...] = ()
    base: Model | None = None

    def asked(self, typed: Parsed) -> Drawing:
        """The same models, drawing with the options and scales that are typed elsewhere."""
        of_all: dict[str, Any] = {**self.of_all, **typed.options(OPTIONS)}
        of_all["guides"] = [(guide, getattr(typed, f"{name}_scale")) for name, guide in self.guides.items()]
        if self.upsamplers:
            of_all["upsampler"] = [typed.options(OPTIONS, UPSAMPLER)] * len(self.upsamplers)
        return self._replace(of_all=of_all)

    def prompted(self, prompts: Sequence[str]) -> Drawing:
        """The same, told prompts in turns."""
        return self._replace(of_each={**self.of_each, "prompt": prompts})

    def readers(self) -> list[Trained]:
        """The models that may read prompts."""
        return [each.trained for each in (self.base, *self.upsamplers, *self.guides.values()) if each is not None]

    def check(self) -> None:
        """Raise `ConfigError` for options that cannot be, before anything is drawn; of cascades drawing says it."""
        if self.base is not None and not self.upsamplers:
            request(self.base.trained, 1, self.choices(np.arange(1)))

    def samples(self, keys: jax.Array, rows: np.ndarray) -> Samples:
        """Samples by their keys [n] and numbers [n], also those that are not finite."""
        return self.draw(keys, n=len(rows), batch=len(rows), allow_nonfinite=True, **self.choices(rows))

    def choices(self, rows: np.ndarray) -> dict[str, Any]:
        """Those of some samples, by their numbers [n]."""
        turns = {name: rows % len(values) for name, values in self.of_each.items()}
        each = {
            name: values[turns[name]] if isinstance(values, np.ndarray) else [values[i] for i in turns[name]]
            for name, values in self.of_each.items()
        }
        return {**self.of_all, **each}


def add(flags: Flags) -> None:
    """Add the flags of what samples are told."""
    flags.add("seed", "Another seed draws other samples.", int, default=0, low=0, high=2**32 - 1)
    flags.add("label", "The class: its number or name, or none. Else any.", shown="CLASS")
    flags.add("prompt", "What to draw, in words. May be repeated.", repeated=True)
    flags.add("prompts", "A text file of prompts, one per line.", Path)
    flags.add("negative_prompt", "What guidance leads away from. May be repeated.", repeated=True)
    flags.add("long_prompts", "Read prompts beyond the context in chunks of it.", bool, default=False)
    told.add_images(flags)
    flags.add("noise_level", "Of upscalers that are told: how much noise they add to the picture first.", int, low=0)
    flags.add("upsampler", "Enlarges the samples. May be repeated, in order.", Path, shown="DIR", repeated=True)
    for name, about in GUIDES.items():
        flags.add(name, f"Guides the samples: {about}.", Path, shown="DIR")
        flags.add(f"{name}_scale", "How strongly it does.", float, default=1.0, low=-STRONGEST, high=STRONGEST)


def add_options(flags: Flags, line: str = "Unless given, as the model was configured: ...") -> None:
    """Add the options of samples, which `line` stands for, and those of upsamplers."""
    flags.add_options(OPTIONS)
    flags.add_options(OPTIONS, UPSAMPLER)
    flags.shorten(OPTIONS, line)
    flags.shorten(OF_UPSAMPLERS, f"Of upsamplers: the same with --{UPSAMPLER} in front.")


def check(typed: Parsed, *, prompted: bool = True) -> None:
    """Raise `ConfigError` for flags that contradict each other, or mean nothing without another one.

    Args:
      typed: on the command line.
      prompted: whether all prompts are typed; else those of a test set may take their place.
    """
    given = typed.given
    for name, other in _NEEDS.items():
        require(name not in given or other in given, f"--{name} is given, but no --{other}.")
    require(
        not prompted or "clip" not in given or bool(given & {"prompt", "prompts"}),
        "--clip is given, but no --prompt towards which it could guide.",
    )
    for name in FILES:
        require(
            not {name, "upsampler"} <= given,
            f"--upsampler is given, and --{name}: it enlarges what --workdir draws; leave one of them out.",
        )


def drawing(typed: Parsed, model: Model, prompts: Sequence[str]) -> Drawing:
    """What draws as the flags say.

    Args:
      typed: on the command line, with a `workdir`, and whether averaged parameters are meant (`ema`).
      model: of the workdir.
      prompts: of `glowdiff.cli.prompts.read_prompts`.

    Raises:
      ConfigError: the model draws no samples; there is no such class, or a file does not hold what the model takes.
    """
    takes, spec = model.method.takes, model.spec
    if model.method.draws is None:
        raise ConfigError(f"--workdir is {typed.workdir}, of method {model.config.method}, which draws no samples.")
    images, of_all = told.read_images(typed, takes, spec), {}
    of_each: dict[str, Any] = {name: pictures.images for name, pictures in images.items()}
    if "label" in typed.given:
        of_all["label"] = told.read_label(typed.label, spec)
    elif row(takes, "label"):
        labels = [pictures.labels for pictures in images.values() if pictures.labels is not None]
        of_each |= {"label": labels[0]} if labels else {}
    if prompts:
        of_each["prompt"] = prompts
    if "negative_prompt" in typed.given:
        of_each["negative_prompt"] = typed.negative_prompt
    if typed.noise_level is not None:
        of_all["noise_level"] = typed.noise_level
    if typed.long_prompts:
        of_all["long_prompts"] = True
    guides = _guides(typed)
    if "upsampler" in typed.given:
        upsamplers = tuple(load(workdir, ema=typed.ema) for workdir in typed.upsampler)
        cascade = Cascade(model, *upsamplers)
        return Drawing(cascade.draw, upsamplers[-1], of_all, of_each, guides, upsamplers, model).asked(typed)
    told.check_images(list(images), takes)
    return Drawing(model.draw, model, of_all, of_each, guides, base=model).asked(typed)


def _guides(typed: Parsed) -> dict[str, Model]:
    """Models that guide, by name."""
    guides = {}
    for name in GUIDES:
        if name in typed.given:
            workdir = getattr(typed, name)
            guides[name] = load(workdir)
            method = guides[name].config.method
            require(method == name, f"--{name} is {workdir}, a model of method {method}, not {name}.")
    return guides
