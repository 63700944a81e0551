"""A trained classifier or CLIP as a guide of another model's samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax

from glowdiff.diffusion.config import same_noise
from glowdiff.errors import ConfigError
from glowdiff.method import Guide
from glowdiff.sharding import replicated

if TYPE_CHECKING:
    from glowdiff.inference.model import Model


def as_guide(name: str, guide: Model, scale: float, model: Model) -> Guide:
    """A classifier or CLIP, called `name`, as a guide of samples of `model`.

    Raises:
      ConfigError: it is no such thing, was trained on other images or other noise, or `model` takes no guides.
    """
    if guide.config.method != name.lower():
        raise ConfigError(f"the {name} is a model of method {guide.config.method}, not {name.lower()}.")
    if "guides" not in model.method.options:
        raise ConfigError(f"a {name} guides diffusion models; this one is of method {model.config.method}.")
    mine, theirs = model.spec, guide.spec
    different = same_noise(model.config.model, guide.config.model)
    if (mine.shape, mine.levels) != (theirs.shape, theirs.levels):
        different = (
            f"images are {'x'.join(map(str, mine.shape))} with {mine.levels} levels and the {name}'s are "
            f"{'x'.join(map(str, theirs.shape))} with {theirs.levels}"
        )
    if guide.method.labels and model.method.labels not in (0, guide.method.labels):
        different = f"the model knows {model.method.labels} classes and the {name} {guide.method.labels}"
    if different:
        raise ConfigError(f"the {name} does not fit the model: {different}.")
    variables, method = jax.device_put(guide.variables, replicated(model.mesh)), guide.method
    assert method.log_prob is not None
    return Guide(variables, scale, method.log_prob, method.labels, method.embed)
