"""What a caller asks of n samples, checked against the rows and options of a model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from glowdiff.config.options import SampleOptions, changed
from glowdiff.errors import ConfigError, did_you_mean, require, shown
from glowdiff.inference.checks import as_array, check_switch, check_texts
from glowdiff.inference.guide import as_guide, guide_pairs
from glowdiff.method import Condition, context, row
from glowdiff.text.tokenizer import Tokenizer, TooLongError
from glowdiff.trained import Trained

# Words of callers that become conditions: captions are read, and a mask says what is painted anew, not what is known.
WORDS = ("prompt", "negative_prompt", "long_prompts", "image", "mask")
_CALLED = {"known": "image", "known_mask": "mask"}  # conditions, as callers know them


class Request(NamedTuple):
    """What samples are told, and how they are drawn."""

    cond: dict[str, np.ndarray]  # conditions [n, ...]
    options: SampleOptions


def request(model: Trained, n: int, choices: Mapping[str, Any], *, drawn: bool = True, whole: bool = True) -> Request:
    """The conditions and options for the choices of a call.

    Args:
      model: of which they are asked.
      n: how many images.
      choices: by name: `prompt` and `negative_prompt`, `long_prompts`, `image` and `mask`, the conditions that the
        model takes, `guides` (pairs of a model and its scale), and options of samples.
      drawn: a label that is not given is drawn; else a class-conditional model must be given one.
      whole: what the model cannot do without must be given; else it is made of images.

    Raises:
      ConfigError: a name that nothing answers to, or a value that cannot be.
    """
    values = dict(choices)
    guiding = guide_pairs(values.pop("guides", ()))
    guides = tuple(as_guide(guide, scale, model) for guide, scale in guiding)
    # A label is taken for what guides towards it, too.
    takes = tuple(each for each in model.method.takes if not each.derived)
    takes += tuple(each for guide in guides for each in guide.takes if not each.shape and not row(takes, each.name))
    long = _long(model, values.pop("long_prompts", False))
    captions = _captions(model, [guide for guide, _ in guiding], values.pop("prompt", None), n, long)
    negative = values.pop("negative_prompt", None)
    values |= _known(values, n) | ({"guides": guides} if guides else {})
    conditions = {each: values.pop(each.name) for each in takes if each.name in values}
    used = model.method.draws.options if model.method.draws else ()
    for name in values:
        _check_name(name, takes, used, model.config.method)
    cond = {each.name: check(each, value, n) for each, value in conditions.items() if value is not None} | captions
    if whole:
        _check_needed(cond, takes, n)
    _check_together(cond, values, guides, takes, drawn)
    options = changed(model.config.sampling, used, values)
    model.config.model.check_sampling(options, "")
    cond |= _negative(model, negative, options, n, long)
    return Request(_as_long(cond) if long else cond, options)


def check(each: Condition, value: Any, n: int) -> np.ndarray:
    """The values of a condition, [n, *shape].

    Args:
      each: its row.
      value: for each of the n, or one for all; "none" where the row has a value for it.
      n: how many.

    Raises:
      ConfigError: it has another shape or type, or values that the row does not know.
    """
    name = _CALLED.get(each.name, each.name)
    none = ' or "none"' if each.none is not None and not each.shape else ""
    if isinstance(value, str) and not each.shape:
        require(
            value == "none" and bool(none),
            f"{name} is {shown(value)}; it must be a number{none or f' from 0 to {each.values - 1}'}.",
        )
        return np.full((n, *each.shape), each.none, each.dtype)
    array, shape = as_array(name, value), (n, *each.shape)
    whole = array.dtype.kind in ("b" if each.dtype == np.bool_ else "iu")
    if each.shape:
        expected = f"{name} is {array.dtype} {list(array.shape)}; it must be {np.dtype(each.dtype)} {list(shape)}."
    elif not whole:
        expected = f"{name} is {shown(value)}; it must be a whole number."
    else:
        expected = f"{name} has shape {list(array.shape)}; it must be one number, or [{n}], one for each image."
    if array.shape == each.shape:  # one for all
        array = np.broadcast_to(array, shape)
    require(whole and array.shape == shape, expected)
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    require(
        not each.values or (low >= 0 and high < each.values),
        f"{name} has values from {low} to {high}; this model takes 0 to {each.values - 1}."
        if each.shape
        else f"{name} {low if low < 0 else high} does not exist; this model knows 0 to {each.values - 1}{none}.",
    )
    return array.astype(each.dtype)


def check_negative(takes: Sequence[Condition], options: SampleOptions, prompt: Any) -> None:
    """Raise `ConfigError` for a negative prompt that nothing would look at.

    Args:
      takes: what the model is told.
      options: of the samples.
      prompt: the negative one; None: there is none.
    """
    if prompt is None:
        return
    given = "negative_prompt is given, but"
    require(context(takes) > 0, f"{given} this model reads no captions (model.text.name is none).")
    require(
        row(takes, "negative_tokens") is not None,
        f"{given} this model has never been without captions (model.caption_dropout is 0), so there is no guidance "
        "that could lead away from one.",
    )
    require(
        options.guidance_scale is not None,
        f"{given} guidance_scale is not: guidance leads away from the one, to the prompt. Give a scale above 1.",
    )


def read_captions(
    tokenizer: Tokenizer,
    prompt: str | Sequence[str] | None,
    n: int,
    length: int,
    name: str = "prompt",
    *,
    long: bool = False,
) -> dict[str, np.ndarray]:
    """`tokens` and `mask` [n, length] of one prompt for all, n of them, or none at all; of `long` ones [n, k length].

    Raises:
      ConfigError: there is another number of them, one is no text, or too long.
    """
    prompts = check_texts(name, "" if prompt is None else prompt)
    prompts = prompts * n if prompt is None or isinstance(prompt, str) else prompts
    require(len(prompts) == n, f"{name} holds {len(prompts)} captions for {n} images.")
    tokens, mask = (tokenizer.encode_long if long else tokenizer.encode)(prompts, length)
    return {"tokens": tokens, "mask": mask & np.array([bool(text.strip()) for text in prompts])[:, None]}


def _captions(model: Trained, guides: Iterable[Trained], prompt: Any, n: int, long: bool) -> dict[str, np.ndarray]:
    """Captions as the model and its guides read them; those of guides under names of their own."""
    cond: dict[str, np.ndarray] = {}
    for reader, prefix in ((model, ""), *((guide, f"{guide.config.method}_") for guide in guides)):
        length = context(reader.method.takes)
        if length:
            require(prompt is not None or not prefix, f"a {reader.config.method} guides towards a prompt: give one.")
            assert reader.tokenizer is not None
            with _hinting(reader, prefix):
                captions = read_captions(reader.tokenizer, prompt, n, length, long=long and not prefix)
            cond |= {f"{prefix}{name}": array for name, array in captions.items()}
    require(
        prompt is None or bool(cond), "prompt is given, but this model reads no captions (model.text.name is none)."
    )
    return cond


def _negative(model: Trained, prompt: Any, options: SampleOptions, n: int, long: bool) -> dict[str, np.ndarray]:
    """What classifier-free guidance leads away from in words, if there is any; without a prompt, from no caption.

    That is told too, so that a negative prompt compiles nothing.
    """
    takes = model.method.takes
    check_negative(takes, options, prompt)
    if options.guidance_scale is None or row(takes, "negative_tokens") is None:
        return {}
    assert model.tokenizer is not None
    with _hinting(model):
        captions = read_captions(model.tokenizer, prompt, n, context(takes), "negative_prompt", long=long)
    return {f"negative_{name}": array for name, array in captions.items()}


@contextlib.contextmanager
def _hinting(reader: Trained, prefix: str = "") -> Iterator[None]:
    """Says of a prompt that is too long that it may be read in chunks, if it may."""
    try:
        yield
    except TooLongError as error:
        if prefix or not reader.config.model.captions.chunks:
            raise
        raise ConfigError(f"{error} Or have it read in chunks: long_prompts (--long_prompts).") from error


def _long(model: Trained, value: Any) -> bool:
    """Whether prompts may go on beyond the context; a `ConfigError` if the model cannot read them."""
    check_switch("long_prompts", value)
    captions = model.config.model.captions
    require(
        not value or (captions is not None and captions.chunks),
        "long_prompts is on, but this model reads one context of tokens at most; those whose model.text.name is clip "
        "read several.",
    )
    return bool(value)


def _as_long(cond: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Conditions whose prompts and negative prompts are of as many chunks: the last ones of the shorter are empty."""
    names = [f"{prefix}{name}" for prefix in ("", "negative_") for name in ("tokens", "mask")]
    length = max(cond[name].shape[1] for name in names if name in cond)
    filled = {name: [(0, 0), (0, length - cond[name].shape[1])] for name in names if name in cond}
    return {**cond, **{name: np.pad(cond[name], widths) for name, widths in filled.items()}}


def _known(values: dict[str, Any], n: int) -> dict[str, Any]:
    """`known` and `known_mask` of an image and a mask of what is painted anew, which are taken out of the values."""
    image, mask = values.pop("image", None), values.pop("mask", None)
    if image is None and mask is None:
        return {}
    if image is None or mask is None:
        raise ConfigError("image and mask go together: the mask says which pixels of the image are painted anew.")
    image, painted = as_array("image", image), as_array("mask", mask)
    require(bool(np.isfinite(painted).all()), "mask holds numbers that are not finite; what is not 0 is painted anew.")
    erased, shape = painted != 0, list(image.shape[-3:-1])
    if erased.ndim == 2:
        erased = np.broadcast_to(erased, (n, *erased.shape))
    require(
        list(erased.shape) == [n, *shape],
        f"mask has shape {list(erased.shape)}; it must be {[n, *shape]}, as the images.",
    )
    empty = [str(i) for i, each in enumerate(erased) if not each.any()]
    require(not empty, f"mask is empty for image {', '.join(empty[:8])}: nothing is to be painted; white is.")
    return {"known": image, "known_mask": (~erased)[..., None].astype(np.uint8)}


def _check_name(name: str, takes: Sequence[Condition], used: Iterable[str], method: str) -> None:
    """Raise `ConfigError` for the name of a choice that is neither a condition that the model takes nor an option."""
    if name in SampleOptions.__dataclass_fields__:
        return
    known = [each.name for each in takes] + [*WORDS, *used]
    reasons = {"label": "this model was not trained with labels (model.class_conditional)."}
    reasons |= dict.fromkeys(("known", "source"), f"diffusion models edit images so; this one is of method {method}.")
    reason = reasons.get(name, f"this model takes no such thing. {did_you_mean(name, known)}")
    raise ConfigError(f"{_CALLED.get(name, name)} is given, but {reason}")


def _check_needed(cond: Mapping[str, Any], takes: Iterable[Condition], n: int) -> None:
    """Raise `ConfigError` for what is missing."""
    for each in takes:
        shape = [n, *each.shape]
        require(
            not each.needed or each.name in cond,
            f"this model's samples depend on {each.name}: give {each.name}, {np.dtype(each.dtype)} {shape}.",
        )


def _check_together(
    cond: Mapping[str, Any],
    options: Mapping[str, Any],
    guides: Sequence[Any],
    takes: Sequence[Condition],
    drawn: bool,
) -> None:
    """Raise `ConfigError` for choices that contradict each other."""
    label = row(takes, "label")
    require(
        label is None or drawn or "label" in cond,
        f"this model is class-conditional: give label=, from 0 to {label.values - 1 if label else 0}.",
    )
    if label is not None and label.none is not None and any(row(guide.takes, "label") for guide in guides):
        require(
            not np.any(cond.get("label", -1) == label.none),
            'label is "none", but a classifier guides towards a label: give one, or leave it out. guidance_scale=0 '
            "hides it from the model alone.",
        )
    require(
        not {"source", "known"} <= cond.keys(),
        "source is given with image and mask; images are varied (SDEdit) or painted into, not both at once.",
    )
    require("strength" not in options or "source" in cond, "strength is given, but no source that it could vary.")
    require(
        "source" not in cond or "strength" in options, "source is given; say with strength, 0 to 1, how far to vary it."
    )
