"""From the choices of `Model.draw` to the conditions and options of a sampler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from glowdiff.errors import ConfigError, require
from glowdiff.inference import conditions
from glowdiff.inference.drawer import resolve
from glowdiff.inference.guide import as_guide
from glowdiff.method import SampleOptions

if TYPE_CHECKING:
    from glowdiff.inference.model import Model


class Asked(NamedTuple):
    """What a caller asks of n samples."""

    cond: dict[str, np.ndarray]  # conditions, see `glowdiff.method.Cond`
    options: SampleOptions


def ask(
    model: Model,
    n: int,
    *,
    prompt: str | Sequence[str] | None = None,
    image: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    source: np.ndarray | None = None,
    strength: float | None = None,
    classifier: Model | None = None,
    classifier_scale: float = 1.0,
    clip: Model | None = None,
    clip_scale: float = 1.0,
    frames: int | None = None,
    **options: Any,
) -> Asked:
    """What a `Sampler` takes for the choices of `Model.draw` but for labels and small images, checked as there."""
    # CLIP reads the prompt, even where the model that it guides reads none.
    own = prompt if clip is None or model.tokenizer is not None else None
    guides, cond = (), conditions.captions(model.config, model.tokenizer, own, n)
    if classifier is not None:
        guides += (as_guide("classifier", classifier, classifier_scale, model),)
    if clip is not None:
        guides += (as_guide("CLIP", clip, clip_scale, model),)
        if prompt is None:
            raise ConfigError("CLIP guides towards a prompt: give one.")
        read = conditions.captions(clip.config, clip.tokenizer, prompt, n)
        cond |= {f"clip_{name}": array for name, array in read.items()}
    chosen = resolve(model.config, guides=guides, frames=frames, strength=strength, **options)
    if image is not None or mask is not None or source is not None:
        if "strength" not in model.method.options:
            raise ConfigError(f"diffusion models edit images so; this one is of method {model.config.method}.")
        require(
            source is None or (image is None and mask is None),
            "source is given with image and mask; images are varied (SDEdit) or painted into, not both at once.",
        )
        cond |= conditions.known_pixels(model.spec, image, mask, n) | conditions.source_images(model.spec, source, n)
    require(strength is None or source is not None, "strength is given, but no source that it could vary.")
    require(source is None or strength is not None, "source is given; say with strength, 0 to 1, how far to vary it.")
    return Asked(cond, chosen)
