"""What a caller asks of n samples, checked, as the conditions that methods take (`glowdiff.method.Cond`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from glowdiff.config.sections import Config
from glowdiff.errors import ConfigError, require
from glowdiff.spec import DataSpec
from glowdiff.text.tokenizer import Tokenizer

Arrays = dict[str, np.ndarray]


def captions(
    config: Config, tokenizer: Tokenizer | None, prompt: str | Sequence[str] | None, n: int, *, name: str = "prompt"
) -> Arrays:
    """`tokens` and `mask` of models that read captions.

    Args:
      config: of the model.
      tokenizer: of the model.
      prompt: one for all, or n of them; None: no caption at all.
      n: how many images.
      name: of what was given, for messages.

    Raises:
      ConfigError: a prompt for a model that reads none, another number of them than n, or one that is too long.
    """
    if tokenizer is None or not config.model.context:
        require(prompt is None, f"{name} is given, but this model reads no captions (model.text is off).")
        return {}
    prompts = [prompt or ""] * n if prompt is None or isinstance(prompt, str) else list(prompt)
    require(len(prompts) == n, f"{name} holds {len(prompts)} captions for {n} images.")
    tokens, mask = tokenizer.encode(prompts, config.model.context)
    return {"tokens": tokens, "mask": mask & np.array([bool(text.strip()) for text in prompts])[:, None]}


def small_images(config: Config, spec: DataSpec, low_res: np.ndarray | None, n: int) -> Arrays:
    """`low_res` of super-resolution models: uint8 [n, side, side, C].

    Raises:
      ConfigError: it is missing, not asked for, or of another shape or other values.
    """
    side = getattr(config.model, "low_res", None)
    if side is None:
        require(low_res is None, "low_res was given, but this is no super-resolution model (model.low_res).")
        return {}
    shape = (n, side, side, spec.shape[-1])
    if low_res is None:
        raise ConfigError(f"this model enlarges images: give low_res, uint8 {list(shape)}.")
    return {"low_res": _integers("low_res", low_res, shape, spec.levels)}


def known_pixels(spec: DataSpec, image: np.ndarray | None, mask: np.ndarray | None, n: int) -> Arrays:
    """`known` and `known_mask` of what shall stay of images.

    Args:
      spec: of the model's images.
      image: integers [n, H, W, C], or [H, W, C] for all.
      mask: [n, H, W] or [H, W]: what is not 0 is painted anew, what is 0 stays.
      n: how many images.

    Raises:
      ConfigError: one of them without the other, a wrong shape, values that no image has, or nothing to paint.
    """
    if image is None and mask is None:
        return {}
    if image is None or mask is None:
        raise ConfigError("image and mask go together: the mask says which pixels of the image are painted anew.")
    known = _integers("image", _repeated(image, 3, n), (n, *spec.shape), spec.levels)
    erased = _repeated(np.asarray(mask) != 0, 2, n)
    shape = (n, *spec.shape[:2])
    require(erased.shape == shape, f"mask has shape {list(erased.shape)}; it must be {list(shape)}, as the images.")
    empty = [str(i) for i in range(n) if not erased[i].any()]
    require(not empty, f"mask is empty for image {', '.join(empty[:8])}: nothing is to be painted; white is.")
    return {"known": known, "known_mask": (~erased)[..., None].astype(np.uint8)}


def source_images(spec: DataSpec, source: np.ndarray | None, n: int) -> Arrays:
    """`source` of SDEdit: uint8 [n, H, W, C], from [n, H, W, C] or one [H, W, C] for all.

    Raises:
      ConfigError: a wrong shape, or values that no image has.
    """
    if source is None:
        return {}
    return {"source": _integers("source", _repeated(source, 3, n), (n, *spec.shape), spec.levels)}


def _repeated(array: np.ndarray, axes: int, n: int) -> np.ndarray:
    """One for all, n times, if there is no axis of images yet."""
    array = np.asarray(array)
    return np.broadcast_to(array, (n, *array.shape)) if array.ndim == axes else array


def _integers(name: str, array: np.ndarray, shape: tuple[int, ...], levels: int) -> np.ndarray:
    array = np.asarray(array)
    require(
        array.shape == shape and np.issubdtype(array.dtype, np.integer),
        f"{name} is {array.dtype} {list(array.shape)}; it must be uint8 {list(shape)}.",
    )
    low, high = array.min(), array.max()
    require(low >= 0 and high < levels, f"{name} has values from {low} to {high}; this model takes 0 to {levels - 1}.")
    return array.astype(np.uint8)
