"""Options of samples, in one list: the `sampling` section, the keywords of a call and the flags of a command.

A new option is a new field of `SampleOptions`, and whatever reads it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from types import EllipsisType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glowdiff.config.numbers import HOTTEST, STRONGEST, as_python, check_number
from glowdiff.errors import ConfigError, did_you_mean, require, require_choice, shown


def option(
    default: Any,
    about: str,
    *,
    static: bool = False,
    choices: tuple[str, ...] = (),
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    only: tuple[str, tuple[str, ...] | EllipsisType] | None = None,
    call: bool = False,
) -> Any:
    """A field of `SampleOptions`.

    Args:
      default: without which it is not even computed, where it is None.
      about: its help.
      static: whether it decides what is compiled; what is not static is traced.
      choices: of a name.
      low: the least that a number may be,
      above: or what it must exceed,
      high: and the most.
      only: the name of another option, and its values with which alone this one matters; ...: any but None.
      call: whether it belongs to a call alone, and to no configuration.
    """
    limits = {"choices": choices, "low": low, "above": above, "high": high, "only": only}
    return field(default=default, metadata={"about": about, "static": static, "call": call} | limits)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SampleOptions:
    """How samples are drawn; a method uses what `Draws.options` names. From `sampler` on: of diffusion models.

    Numbers are traced: another value compiles nothing. What is static decides what is compiled, and so does whether a
    number is None, which stands for "not computed".
    """

    temperature: float = option(1.0, "Standard deviation of the latents.", low=0, high=HOTTEST)
    sampler: str = option("ancestral", "ancestral, ddim, plms, euler, euler_ancestral, heun, dpmpp_2m ...", static=True)
    steps: str = option("250", 'Of the sampler: a number; also "10,10,5", "ddim50", "fast27".', static=True)
    spacing: str = option("even", "Of the steps: even, trailing, leading, log_snr, karras ...", static=True)
    final: str = option(
        "data",
        "Where ddim and plms end: data, or first: the first timestep.",
        static=True,
        choices=("data", "first"),
        only=("sampler", ("ddim", "plms")),
    )
    eta: float = option(
        0.0, "Noise that ddim adds: 0 none, 1 as much as ancestral.", low=0, high=1, only=("sampler", ("ddim",))
    )
    # s of u + s (c - u), Ho & Salimans (2021)
    guidance_scale: float | None = option(
        None, "Classifier-free guidance; 1: none; None: not even computed.", low=-STRONGEST, high=STRONGEST
    )
    guidance_from: float = option(
        0.0, "Guide from this share of the timesteps, 0: data,", low=0, high=1, only=("guidance_scale", ...)
    )
    guidance_to: float = option(
        1.0, "up to this share of the timesteps, 1: noise.", low=0, high=1, only=("guidance_scale", ...)
    )
    # phi of Lin et al. (2023)
    guidance_rescale: float = option(
        0.0, "Share of guidance's contrast taken back.", low=0, high=1, only=("guidance_scale", ...)
    )
    threshold: str = option(
        "clip", "Of predictions of the data: clip, dynamic or none.", static=True, choices=("clip", "dynamic", "none")
    )
    percentile: float = option(
        99.5, "Of dynamic thresholds, up to 100.", above=0, high=100, only=("threshold", ("dynamic",))
    )
    strength: float = option(
        1.0, "SDEdit: the share of noise that the source is given.", static=True, above=0, high=1, call=True
    )
    frames: int = option(0, "Draw films of so many pictures instead; 0: samples.", static=True, low=0, call=True)
    guides: tuple[Any, ...] = option((), "Networks that pull the samples, see `Guide`.", call=True)

    def check(self, prefix: str = "sampling.") -> None:
        """Raise `ConfigError` for impossible values; `prefix` is what stands in front of their names in messages."""
        for each in dataclasses.fields(self):
            check_value(prefix + each.name, getattr(self, each.name), each)
        require(
            self.guidance_from <= self.guidance_to,
            f"{prefix}guidance_from is {self.guidance_from}, which is more than {prefix}guidance_to="
            f"{self.guidance_to}; 0 is data and 1 is noise.",
        )

    def check_use(self, used: Collection[str], prefix: str = "sampling.") -> None:
        """Raise `ConfigError` for an option that nothing would look at.

        Args:
          used: names of the options that the model's samples depend on.
          prefix: as of `check`.
        """
        for each in dataclasses.fields(self):
            value, name = getattr(self, each.name), prefix + each.name
            if value == each.default:
                continue
            require(each.name in used, f"{name} is {value!r}, {_unused(used, prefix)}")
            if not _matters(self, each):
                other, needed = each.metadata["only"]
                actual = getattr(self, other)
                raise ConfigError(
                    f"{name} is {value}, but {prefix}{other} is "
                    + ("not given" if actual is None else repr(actual))
                    + (
                        ", so there is nothing for it to change. "
                        if needed is ...
                        else f", not {' or '.join(needed)}. "
                    )
                    + f"Leave it at {each.default}."
                )


def configured() -> Iterator[dataclasses.Field[Any]]:
    """The options that a configuration holds, in order."""
    return (each for each in dataclasses.fields(SampleOptions) if not each.metadata["call"])


def check_value(name: str, value: Any, field: dataclasses.Field[Any]) -> None:
    """Raise `ConfigError` unless an option may have a value, by its own rules.

    Args:
      name: what the option is called in the message.
      value: of the option.
      field: of `SampleOptions`.
    """
    kind, rules = type(field.default), field.metadata
    if kind is tuple or (value is None and field.default is None):
        return
    if kind is str:
        if not isinstance(value, str):
            kinds = "a whole number, or text such as '10,10,5'" if field.name == "steps" else "text"
            raise ConfigError(f"{name} is {shown(value)}; it must be {kinds}.")
        if rules["choices"]:
            require_choice(name, value, rules["choices"])
        return
    limits = {each: rules[each] for each in ("low", "above", "high")}
    check_number(name, value, whole=kind is int, **limits)


def changed(options: SampleOptions, used: Collection[str], changes: dict[str, Any]) -> SampleOptions:
    """The options with changes, checked but for what the model itself has to say of them.

    What is configured and matters with another sampler, threshold or guidance alone goes with that.

    Args:
      options: as configured.
      used: see `SampleOptions.check_use`.
      changes: by name; None, where an option may be None, is a value like any other.

    Raises:
      ConfigError: there is no such option, its value cannot be, or nothing would look at it.
    """
    known = [each.name for each in dataclasses.fields(SampleOptions)]
    for name in changes:
        require(name in known, f"there is no option {name} of samples. {did_you_mean(name, known)}")
        require(name in used, f"{name} is given, {_unused(used, '')}")
    values = {name: as_python(value) for name, value in changes.items()}
    if type(values.get("steps")) is int:
        values["steps"] = str(values["steps"])
    new = dataclasses.replace(options, **values)
    for each in dataclasses.fields(SampleOptions):
        if each.name not in values and not _matters(new, each) and each.metadata["only"][0] in values:
            new = dataclasses.replace(new, **{each.name: each.default})
    new.check("")
    new.check_use(used, "")
    return new


def as_float32(options: Any) -> Any:
    """Options with numbers, Python's and NumPy's, as arrays: an int and a float would compile twice."""
    number = (int, float, np.number)
    return jax.tree.map(lambda leaf: jnp.float32(leaf) if isinstance(leaf, number) else leaf, options)


def _matters(options: SampleOptions, each: dataclasses.Field[Any]) -> bool:
    """Whether an option that depends on another one has something to change."""
    if each.metadata["only"] is None:
        return True
    other, needed = each.metadata["only"]
    actual = getattr(options, other)
    return actual is not None if needed is ... else actual in needed


def _unused(used: Collection[str], prefix: str) -> str:
    names = [prefix + each.name for each in configured() if each.name in used]
    return f"on which the samples of this model do not depend; they do on {', '.join(names) or 'nothing'}."
