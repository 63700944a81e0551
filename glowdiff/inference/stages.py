"""What a cascade's stages are, and what must hold of each and of the one before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from glowdiff.errors import require
from glowdiff.inference.guide import guide_pairs
from glowdiff.inference.model import Model
from glowdiff.method import Condition, row


def enlarged(takes: Sequence[Condition]) -> Condition | None:
    """The row of the small image that a model cannot do without; None: it is no upsampler."""
    return next((each for each in takes if each.needed and each.image), None)


def check_fit(name: str, before: Model, after: Model) -> None:
    """Raise `ConfigError` unless a stage, called `name`, enlarges what the one before it draws."""
    small = enlarged(after.method.takes)
    require(small is not None, f"{name} is no super-resolution model: it is given no small image.")
    assert small is not None
    require(
        (small.shape, small.values) == (before.spec.shape, before.spec.levels),
        f"{name} enlarges images of {described(small.shape, small.values)}; those drawn before it are "
        f"{described(before.spec.shape, before.spec.levels)}.",
    )
    require(before.mesh == after.mesh, f"{name} is on other devices than the stage before it; load both on the same.")


def check_own(name: str, choices: Mapping[str, Any], small: Condition | None) -> None:
    """Raise `ConfigError` for what is not a stage's own to choose."""
    reasons = {"frames": "a cascade draws no films", "label": "it is the same for all stages"}
    reasons["batch"] = reasons["label"]
    if small is not None:
        reasons[small.name] = "it is what the stage before draws"
    for key, reason in reasons.items():
        require(key not in choices, f"{key} is given for {name}; {reason}.")


def guided(choices: Mapping[str, Any], by: Callable[[Any], int]) -> bool:
    """Whether a guide among the choices reads captions (by `context`), or knows classes (by `classes`)."""
    return any(by(guide.method.takes) for guide, _ in guide_pairs(choices.get("guides", ())))


def leads_away(stage: Model, choices: Mapping[str, Any]) -> bool:
    """Whether a stage has classifier-free guidance, and captions that it may lead away from."""
    scale = choices.get("guidance_scale", stage.config.sampling.guidance_scale)
    return scale is not None and row(stage.method.takes, "negative_tokens") is not None


def described(shape: tuple[int, ...], levels: int) -> str:
    """Images in words."""
    return f"{'x'.join(map(str, shape))} with {levels} levels"


def stage_name(number: int, stages: int) -> str:
    """What a stage is called in messages."""
    if not number:
        return "the base"
    return "the upsampler" if stages == 2 else f"upsampler {number}"
