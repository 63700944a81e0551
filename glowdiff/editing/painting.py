"""What diffusion models do to pictures: paint regions anew (inpainting), and vary the whole (SDEdit)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from glowdiff.editing.commands import Result, check_size, count_of, numbers
from glowdiff.inference.checks import check_count, seed_key
from glowdiff.inference.model import Model
from glowdiff.pictures.inputs import Pictures
from glowdiff.pictures.labelled import labelled_grid


def inpaint(
    model: Model,
    picture: Pictures,
    repaint: np.ndarray,
    count: int,
    *,
    seed: int = 0,
    prompt: str | None = None,
    footer: str = "",
    **choices: Any,
) -> Result:
    """An image, what of it is painted anew, and `count` ways to do so; the rest stays as it is.

    Args:
      model: any diffusion model; one with `model.inpaint` sees what is known, others have it pasted into predictions.
      picture: one image.
      repaint: bool [H, W], true where it is painted anew.
      count: of variations.
      seed: of their noise.
      prompt: of models that read captions.
      footer: written below, after the prompt.
      **choices: of `Model.draw`: a label, options, and of super-resolution models the small image, painted already.
    """
    check_size(model, 1, check_count("count", count) + 2)
    image = picture.images[0]
    drawn = model.sample(seed_key(seed), count, image=image, mask=repaint, prompt=prompt, **choices)
    row = np.concatenate([image[None], hatched(image, repaint, model.spec.levels)[None], drawn])
    grid = labelled_grid(
        row[None],
        model.spec.levels,
        rows=picture.names[:1],
        columns=["image", "to paint", *map(str, range(1, count + 1))],
        footer=_below(prompt, footer),
    )
    share = f"{100 * repaint.mean():.3g}% of the pixels of {picture.names[0]} painted anew"
    return Result(grid, f"{share}, {count_of(count, 'variation')}")


def sdedit(
    model: Model,
    picture: Pictures,
    strengths: Sequence[float],
    *,
    seed: int = 0,
    prompt: str | None = None,
    footer: str = "",
    **choices: Any,
) -> Result:
    """An image, and what becomes of it with ever more noise (Meng et al., 2021): one noise for all strengths.

    Args:
      model: any diffusion model.
      picture: one image, or a sketch of one.
      strengths: shares of the noise that it is given, above 0 and at most 1; each compiles a program of its own.
      seed: of the noise.
      prompt: of models that read captions.
      footer: written below, after the prompt.
      **choices: as of `inpaint`.
    """
    check_size(model, 1, len(strengths) + 1)
    image, key = picture.images[0], seed_key(seed)
    varied = [
        model.sample(key, 1, source=image, strength=strength, prompt=prompt, **choices)[0] for strength in strengths
    ]
    far = [np.abs(each.astype(np.float32) - image.astype(np.float32)).mean() for each in varied]
    grid = labelled_grid(
        np.stack([image, *varied])[None],
        model.spec.levels,
        rows=picture.names[:1],
        columns=["image", *(f"strength {strength}" for strength in numbers(strengths))],
        footer=_below(prompt, footer),
    )
    steps, distances = " ".join(numbers(strengths)), " ".join(f"{distance:.3g}" for distance in far)
    return Result(grid, f"{picture.names[0]} varied at strength {steps}, {distances} levels from it on average")


def hatched(image: np.ndarray, region: np.ndarray, levels: int) -> np.ndarray:
    """An image [H, W, C] with gray stripes in place of a region [H, W]."""
    height, width = region.shape
    broad = max(2, max(height, width) // 16)
    stripe = (np.add.outer(np.arange(height), np.arange(width)) // broad) % 2
    gray = np.where(stripe == 1, 0.5, 0.7) * (levels - 1)
    return np.where(region[..., None], np.round(gray)[..., None], image).astype(np.uint8)


def _below(prompt: str | None, footer: str) -> str:
    """What stands below a grid: the prompt, and then whose pictures these are."""
    return "\n".join(line for line in (prompt or "", footer) if line)
