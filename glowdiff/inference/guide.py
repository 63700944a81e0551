"""A trained classifier or CLIP as a guide of another model's samples."""

from __future__ import annotations

from typing import Any

import jax

from glowdiff.config.numbers import STRONGEST, as_python, check_number
from glowdiff.errors import ConfigError, require, shown
from glowdiff.inference.checks import check_model
from glowdiff.method import Guide, classes
from glowdiff.sharding import replicated
from glowdiff.trained import Trained


def guide_pairs(guides: Any) -> list[tuple[Trained, float]]:
    """The models that are to guide, and how strongly each.

    Raises:
      ConfigError: it is no list of pairs, one of them holds no model, or its scale is no number that could be.
    """
    wanted = "it must be a list of pairs of a model and its scale, such as [(classifier, 2.0)]."
    listed = isinstance(guides, list | tuple)
    require(
        listed and all(isinstance(each, list | tuple) and len(each) == 2 for each in guides),
        f"guides is {shown(guides)}; {wanted}",
    )
    for guide, scale in guides:
        check_model("a guide", guide)
        check_number(f"the scale of a {guide.config.method}", scale, low=-STRONGEST, high=STRONGEST)
    return [(guide, as_python(scale)) for guide, scale in guides]


def as_guide(guide: Trained, scale: float, model: Trained) -> Guide:
    """A classifier or CLIP as a guide of samples of `model`.

    Raises:
      ConfigError: it is no such thing, was trained on other images or other noise, or `model` takes no guides.
    """
    name, method = guide.config.method, guide.method
    if method.guides is None:
        raise ConfigError(f"a guide is of method {name}, which guides nothing; classifiers and CLIPs do.")
    require(
        model.method.draws is not None and "guides" in model.method.draws.options,
        f"a {name} guides diffusion models; this one is of method {model.config.method}.",
    )
    codec = model.method.codec
    require(
        codec is None or codec.bounded,
        f"a {name} sees pixels, but this model works in latents (model.codec), of which it knows nothing; "
        "classifier-free guidance works there (guidance_scale).",
    )
    mine, theirs = model.spec, guide.spec
    different = model.config.model.process.difference(guide.config.model.process)
    if (mine.shape, mine.levels) != (theirs.shape, theirs.levels):
        different = (
            f"images are {'x'.join(map(str, mine.shape))} with {mine.levels} levels and the {name}'s are "
            f"{'x'.join(map(str, theirs.shape))} with {theirs.levels}"
        )
    ours, known = classes(model.method.takes), classes(method.takes)
    if known and ours not in (0, known):
        different = f"the model knows {ours} classes and the {name} {known}"
    require(not different, f"the {name} does not fit the model: {different}.")
    variables = jax.device_put(guide.variables, replicated(model.mesh))
    return Guide(variables, scale, method.guides.log_prob, method.takes, method.guides.embed)
