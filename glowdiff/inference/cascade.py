"""Cascades: a model draws small images and others enlarge them, in one compiled program."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from etils import epath

from glowdiff.errors import ConfigError, require
from glowdiff.inference.drawer import Drawn, Sampler, Samples
from glowdiff.inference.model import Model, load
from glowdiff.inference.request import ask
from glowdiff.method import Cond, Latents, Method, SampleOptions, Variables, example_keys, folded

STAGE_STREAM = 2**29  # plus a stage's number, folded into an example's key for the noise of that stage


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CascadeOptions(SampleOptions):
    """The base's options, and those of each upsampler."""

    upsamplers: tuple[SampleOptions, ...] = ()


def stage_keys(key: jax.Array, n: int, stage: int) -> jax.Array:
    """The keys [n] with which stage 0 (the base), 1, ... of a cascade draws examples 0 ... n - 1 of `key`.

    `upsampler.draw(stage_keys(key, n, 1), n, low_res=base.sample(key, n))` is what `Cascade.sample(key, n=n)` draws.
    """
    keys = example_keys(key, n)
    return folded(keys, STAGE_STREAM + stage) if stage else keys


def chain(methods: Sequence[Method]) -> Drawn:
    """The methods of a base and its upsamplers as one, of variables {"0": the base's, "1": the first upsampler's, ...}.

    The integers that a stage draws are what the next one is given: no stage sees what was lost in rounding, as in
    the originals. Conditions of stage k are named "k/tokens", "k/mask", ...; of a label all are told.

    Args:
      methods: each that of a model that draws; all but the first take cond["low_res"].
    """

    def latents(key: jax.Array, n: int) -> Latents:
        return tuple(_given(method.latents)(stage_keys(key, n, k), n) for k, method in enumerate(methods))

    def sample(
        variables: Variables, key: jax.Array, latents: Latents, cond: Cond, options: CascadeOptions
    ) -> jax.Array:
        shared = {name: value for name, value in cond.items() if name == "label"}
        images: Any = None
        for k, (method, chosen) in enumerate(zip(methods, (options, *options.upsamplers), strict=True)):
            own = {name.removeprefix(f"{k}/"): value for name, value in cond.items() if name.startswith(f"{k}/")}
            given = {**shared, **own} | ({"low_res": images} if k else {})
            keys = stage_keys(key, jax.tree.leaves(latents)[0].shape[0], k)
            images = _given(method.sample)(variables[str(k)], keys, latents[k], given, chosen)
        return images

    labelled = [method for method in methods if method.labels]
    return Drawn(
        latents,
        sample,
        labels=max((method.labels for method in labelled), default=0),
        null_label=bool(labelled) and all(method.null_label for method in labelled),
    )


class Cascade:
    """A base model and the upsamplers behind it, each with its own sampler, steps, temperature and guidance.

    All stages are one compiled program: images do not leave the devices between them. Unless told otherwise a stage
    samples as its workdir says (`sampling`).

    Attributes:
      base: draws the small images; any model that draws, with or without captions or labels.
      upsamplers: enlarge them, one after the other.
      spec: facts about the last one's data: shape and levels of what `sample` returns.
      sampler: runs all of them; its `lower` gives the program.
    """

    def __init__(self, base: Model, *upsamplers: Model) -> None:
        """Of loaded models.

        Raises:
          ConfigError: there is no upsampler; a model draws nothing or is no super-resolution model; or it takes other
            images or labels than the one before it draws.
        """
        require(bool(upsamplers), "a cascade needs an upsampler: a super-resolution model (model.low_res).")
        require(
            getattr(base.config.model, "low_res", None) is None,
            f"the base enlarges images itself (model.low_res={getattr(base.config.model, 'low_res', None)}); a cascade "
            "begins with a model that needs no image.",
        )
        stages = (base, *upsamplers)
        for number, stage in enumerate(stages):
            name = _name(number, len(stages))
            require(
                stage.method.sample is not None,
                f"{name} is of method {stage.config.method}, which draws no samples: it is a guide for others.",
            )
            if number:
                _check_fit(name, stages[number - 1], stage)
        known = {stage.method.labels for stage in stages} - {0}
        require(len(known) < 2, f"the stages know different numbers of classes: {', '.join(map(str, sorted(known)))}.")
        self.base, self.upsamplers, self.spec = base, upsamplers, upsamplers[-1].spec
        self.sampler = Sampler(chain([stage.method for stage in stages]), base.mesh)

    @property
    def variables(self) -> dict[str, Variables]:
        """Of all stages, as `sampler` takes them."""
        return {str(number): stage.variables for number, stage in enumerate((self.base, *self.upsamplers))}

    def sample(
        self, key: jax.Array, prompt: str | Sequence[str] | None = None, n: int | None = None, **choices: Any
    ) -> np.ndarray:
        """Draw images, uint8 [n, H, W, C]; image i depends on `key` and i alone. Choices are those of `draw`."""
        return self.draw(key, prompt, n, **choices).images

    def draw(
        self,
        key: jax.Array,
        prompt: str | Sequence[str] | None = None,
        n: int | None = None,
        *,
        label: int | str | np.ndarray | None = None,
        batch: int | None = None,
        upsampler: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        **choices: Any,
    ) -> Samples:
        """Draw images and say of which classes they are.

        Args:
          key: a `jax.random.key`.
          prompt: captions, one for each image or one for all, which every stage reads that reads captions; None: none.
          n: how many; None: one for each prompt, or one.
          label: as of `Model.draw`, for all stages that take one.
          batch: images at a time; None: all at once. A new number compiles once.
          upsampler: choices of `Model.draw` for the upsampler, such as {"steps": "fast27", "temperature": 0.997}; for
            several a sequence, one for each.
          **choices: of the base, as of `Model.draw`: `guidance_scale`, `steps`, `clip`, `clip_scale` ...

        Raises:
          ConfigError: as of `Model.draw`; or no stage reads captions, but there is a prompt.
        """
        count = n if n is not None else 1 if prompt is None or isinstance(prompt, str) else len(prompt)
        require(count > 0, f"the number of samples ({count}) must be at least 1.")
        stages = (self.base, *self.upsamplers)
        asked_for = (choices, *self._choices(upsampler))
        require(
            prompt is None
            or any(stage.tokenizer is not None for stage in stages)
            or any(chosen.get("clip") is not None for chosen in asked_for),
            "prompt is given, but no stage of this cascade reads captions (model.text is off).",
        )
        guided = any(chosen.get("classifier") is not None for chosen in asked_for[1:])
        require(
            not guided
            or choices.get("classifier") is not None
            or bool({stage.method.labels for stage in stages} - {0}),
            "a classifier guides an upsampler, but nothing before it knows of classes: let it guide the base too.",
        )
        cond: dict[str, np.ndarray] = {}
        options: list[SampleOptions] = []
        for number, (stage, chosen) in enumerate(zip(stages, asked_for, strict=True)):
            _check_known(_name(number, len(stages)), chosen)
            # CLIP reads the prompt too, even where the model that it guides does not.
            read = prompt if stage.tokenizer is not None or chosen.get("clip") is not None else None
            asked = ask(stage, count, **{"prompt": read, **chosen})
            cond |= {f"{number}/{name}": value for name, value in asked.cond.items()}
            options.append(asked.options)
        first = {field.name: getattr(options[0], field.name) for field in dataclasses.fields(SampleOptions)}
        whole = CascadeOptions(**first, upsamplers=tuple(options[1:]))
        return self.sampler(self.variables, key, count, label=label, cond=cond, options=whole, batch=batch)

    def _choices(self, given: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None) -> list[Mapping[str, Any]]:
        """Those of each upsampler."""
        number = len(self.upsamplers)
        if given is None:
            return [{}] * number
        listed = [given] if isinstance(given, Mapping) else list(given)
        require(
            len(listed) == number,
            f"upsampler gives choices for {len(listed)} upsamplers, but this cascade has {number}: give one mapping "
            "for each, {} for none.",
        )
        return listed


def load_cascade(
    base: epath.PathLike,
    *upsamplers: epath.PathLike,
    step: int | None = None,
    ema: bool = True,
    devices: Sequence[Any] | None = None,
) -> Cascade:
    """The cascade of the models that workdirs hold.

    `load_cascade("runs/glide_openmoji", "runs/glide_up").sample(jax.random.key(0), ["a red heart", "flag of Japan"])`

    Args:
      base: workdir of the model that draws.
      *upsamplers: workdirs of the super-resolution models, in order.
      step: a checkpoint of the base's; None: the newest intact one. Of the upsamplers it is always the newest.
      ema: averaged parameters rather than raw ones.
      devices: to sample on; None: all.

    Raises:
      ConfigError: they do not fit each other, see `Cascade`; or as of `glowdiff.load`.
      CheckpointError: as of `glowdiff.load`.
    """
    first = load(base, step=step, ema=ema, devices=devices)
    return Cascade(first, *(load(workdir, ema=ema, devices=devices) for workdir in upsamplers))


def _check_fit(name: str, before: Model, after: Model) -> None:
    """Raise `ConfigError` unless a stage, called `name`, enlarges what the one before it draws."""
    side = getattr(after.config.model, "low_res", None)
    if side is None:
        raise ConfigError(f"{name} is no super-resolution model (model.low_res is not given).")
    wanted, given = (side, side, after.spec.shape[-1]), before.spec.shape
    require(
        wanted == given and before.spec.levels == after.spec.levels,
        f"{name} enlarges images of {_described(wanted, after.spec.levels)}; those drawn before it are "
        f"{_described(given, before.spec.levels)}.",
    )
    require(before.mesh == after.mesh, f"{name} is on other devices than the stage before it; load both on the same.")


def _check_known(name: str, choices: Mapping[str, Any]) -> None:
    for key in ("frames", "low_res", "label", "batch"):
        reason = "a cascade draws no films" if key == "frames" else "it is the same for all stages"
        reason = "it is what the stage before draws" if key == "low_res" else reason
        require(key not in choices, f"{key} is given for {name}; {reason}.")


def _described(shape: tuple[int, ...], levels: int) -> str:
    return f"{'x'.join(map(str, shape))} with {levels} levels"


def _name(number: int, stages: int) -> str:
    """What a stage is called in messages."""
    if not number:
        return "the base"
    return "the upsampler" if stages == 2 else f"upsampler {number}"


def _given(function: Callable[..., Any] | None) -> Callable[..., Any]:
    assert function is not None
    return function
