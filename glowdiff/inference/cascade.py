"""Cascades: a model draws small images and others enlarge them, in one compiled program."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from glowdiff.config.options import SampleOptions
from glowdiff.errors import require, shown
from glowdiff.inference.checks import check_count, check_key, check_model, check_texts
from glowdiff.inference.drawer import Chain, Drawer, Samples
from glowdiff.inference.model import Model, load
from glowdiff.inference.request import request
from glowdiff.inference.stages import check_fit, check_own, enlarged, guided, leads_away, stage_name
from glowdiff.method import (
    Cond,
    Drawn,
    Draws,
    Latents,
    Method,
    Variables,
    classes,
    context,
    example_keys,
    folded,
    row,
)
from glowdiff.profiling.profiler import Profiler

STAGE_STREAM = 2**29  # plus a stage's number, folded into an example's key for the noise of that stage


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CascadeOptions(SampleOptions):
    """The base's options, and those of each upsampler."""

    upsamplers: tuple[SampleOptions, ...] = dataclasses.field(default=(), metadata={"call": True})


def stage_keys(key: jax.Array, n: int, stage: int) -> jax.Array:
    """The keys [n] with which stage 0 (the base), 1, ... of a cascade draws examples 0 ... n - 1 of `key`.

    An upsampler that draws n with those of stage 1, given `base.sample(key, n)`, draws `Cascade.sample(key, n=n)`.
    """
    keys = example_keys(check_key(key, n), n)
    return folded(keys, STAGE_STREAM + stage) if stage else keys


def chain(methods: Sequence[Method]) -> Chain:
    """The methods of a base and its upsamplers as one, of variables {"0": the base's, "1": the first upsampler's, ...}.

    The integers that a stage draws are what the next one is given: no stage sees what was lost in rounding, as in
    the originals. Conditions of stage k are named "k/tokens", "k/mask", ...; of a label all are told.

    Args:
      methods: each that of a model that draws; all but the first enlarge an image.
    """
    stages = [(method.draws, enlarged(method.takes)) for method in methods]

    def latents(key: jax.Array, n: int) -> Latents:
        return tuple(draws.latents(stage_keys(key, n, k), n) for k, (draws, _) in enumerate(stages) if draws)

    def sample(variables: Variables, key: jax.Array, latents: Latents, cond: Cond, options: CascadeOptions) -> Drawn:
        shared = {name: value for name, value in cond.items() if name == "label"}
        images: Any = None
        finite: list[jax.Array] = []
        for k, ((draws, small), chosen) in enumerate(zip(stages, (options, *options.upsamplers), strict=True)):
            assert draws is not None
            own = {name.removeprefix(f"{k}/"): value for name, value in cond.items() if name.startswith(f"{k}/")}
            stage_cond = {**shared, **own} | ({small.name: images} if small and k else {})
            keys = stage_keys(key, jax.tree.leaves(latents)[0].shape[0], k)
            drawn = draws.sample(variables[str(k)], keys, latents[k], stage_cond, chosen)
            images = drawn.images
            finite.append(drawn.finite)
        return Drawn(images, jnp.stack(finite, 1))

    labels = [label for method in methods if (label := row(method.takes, "label"))]
    # "none" is shared only where every stage knows it
    label = next((each for each in labels if each.none is None), labels[0] if labels else None)
    names = tuple(stage_name(number, len(methods)) for number in range(len(methods)))
    options = stages[0][0].options if stages[0][0] else ()
    draws = Draws(latents, sample, options=options)  # pyright: ignore[reportArgumentType]
    return Chain(draws, (label,) if label else (), names)


class Cascade:
    """A base model and the upsamplers behind it, each with its own sampler, steps, temperature and guidance.

    All stages are one compiled program: images do not leave the devices between them. Unless told otherwise a stage
    samples as its workdir says (`sampling`).

    Attributes:
      base: draws the small images; any model that draws, with or without captions or labels.
      upsamplers: enlarge them, one after the other.
      spec: facts about the last one's data: shape and levels of what `sample` returns.
      drawer: runs all of them; its `lower` gives the program.
    """

    def __init__(self, base: Model, *upsamplers: Model) -> None:
        """Of loaded models.

        Raises:
          ConfigError: there is no upsampler; a model draws nothing or is no super-resolution model; or it takes other
            images or labels than the one before it draws.
        """
        require(bool(upsamplers), "a cascade needs an upsampler: a super-resolution model.")
        stages = (base, *upsamplers)
        for number, stage in enumerate(stages):
            check_model(stage_name(number, len(stages)), stage)
        require(
            enlarged(base.method.takes) is None,
            "the base enlarges images itself; a cascade begins with a model that needs no image.",
        )
        for number, stage in enumerate(stages):
            name = stage_name(number, len(stages))
            require(
                stage.method.draws is not None,
                f"{name} is of method {stage.config.method}, which draws no samples: it is a guide for others.",
            )
            if number:
                check_fit(name, stages[number - 1], stage)
        known = {classes(stage.method.takes) for stage in stages} - {0}
        require(len(known) < 2, f"the stages know different numbers of classes: {', '.join(map(str, sorted(known)))}.")
        self.base, self.upsamplers, self.spec = base, upsamplers, upsamplers[-1].spec
        self.drawer = Drawer(chain([stage.method for stage in stages]), base.mesh)

    @property
    def stages(self) -> tuple[Model, ...]:
        """All models, in order."""
        return self.base, *self.upsamplers

    @property
    def variables(self) -> dict[str, Variables]:
        """Of all stages, as `drawer` takes them."""
        return {str(number): stage.variables for number, stage in enumerate(self.stages)}

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
        negative_prompt: str | Sequence[str] | None = None,
        label: Any = None,
        batch: int | None = None,
        allow_nonfinite: bool = False,
        profiler: Profiler | None = None,
        upsampler: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        **choices: Any,
    ) -> Samples:
        """Draw images and say of which classes they are.

        Args:
          key: a `jax.random.key`.
          prompt: captions, one for each image or one for all, which every stage reads that reads captions; None: none.
          n: how many; None: one for each prompt, or one.
          negative_prompt: what stages lead away from that read captions and have a `guidance_scale`; as prompt.
          label: as of `Model.draw`, for all stages that take one.
          batch: images at a time; None: all at once. A new number compiles once.
          allow_nonfinite: as of `Model.draw`; of every stage.
          profiler: as of `Model.draw`.
          upsampler: choices of `Model.draw` for the upsampler, such as {"steps": "fast27", "temperature": 0.997}; for
            several a sequence, one for each.
          **choices: of the base, as of `Model.draw`: `guidance_scale`, `steps`, `guides` ...

        Raises:
          ConfigError: as of `Model.draw`; or no stage reads captions, but there is a prompt.
        """
        texts = [] if prompt is None else check_texts("prompt", prompt)
        count = check_count("n", len(texts) or 1 if n is None else n, self.spec.shape)
        own = (choices, *self._choices(upsampler))  # of each stage
        reads = [bool(context(stage.method.takes)) or guided(each, context) for stage, each in self._with(own)]
        require(
            prompt is None or any(reads),
            "prompt is given, but no stage of this cascade reads captions (model.text.name is none).",
        )
        knows = [bool(classes(stage.method.takes)) or guided(each, classes) for stage, each in self._with(own)]
        require(
            not any(guided(each, classes) for each in own[1:])
            or knows[0]
            or any(classes(stage.method.takes) for stage in self.stages),
            "a classifier guides an upsampler, but nothing before it knows of classes: let it guide the base too.",
        )
        require(label is None or any(knows), "label is given, but no stage was trained with labels.")
        away = [leads_away(stage, each) for stage, each in self._with(own)]
        require(
            negative_prompt is None or any(away),
            "negative_prompt is given, but no stage of this cascade reads captions and is guided away from others: one "
            "needs model.caption_dropout and a guidance_scale.",
        )
        cond: dict[str, np.ndarray] = {}
        options: list[SampleOptions] = []
        for number, (stage, each) in enumerate(self._with(own)):
            check_own(stage_name(number, len(own)), each, enlarged(stage.method.takes))
            shared = {"prompt": prompt} if reads[number] else {}
            shared |= {"negative_prompt": negative_prompt} if away[number] else {}
            shared |= {"label": label} if label is not None and knows[number] else {}
            conditions, chosen = request(stage.trained, count, {**shared, **each}, whole=False)
            cond |= {key if key == "label" else f"{number}/{key}": value for key, value in conditions.items()}
            options.append(chosen)
        whole = CascadeOptions(**vars(options[0]), upsamplers=tuple(options[1:]))
        common: dict[str, Any] = {"batch": batch, "allow_nonfinite": allow_nonfinite, "profiler": profiler}
        return self.drawer(self.variables, key, count, cond=cond, options=whole, **common)

    def _with(self, choices: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Model, Mapping[str, Any]]]:
        """Each stage with its choices."""
        return zip(self.stages, choices, strict=True)

    def _choices(self, upsampler: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None) -> list[Mapping[str, Any]]:
        """Those of each upsampler."""
        number = len(self.upsamplers)
        if upsampler is None:
            return [{}] * number
        each: Any = [upsampler] if isinstance(upsampler, Mapping) else upsampler
        listed = isinstance(each, list | tuple) and all(isinstance(own, Mapping) for own in each)
        require(
            listed,
            f'upsampler is {shown(upsampler)}; it must be choices such as {{"steps": 20}}, or a list of them.',
        )
        require(
            len(each) == number,
            f"upsampler gives choices for {len(each)} upsamplers, but this cascade has {number}: give one mapping "
            "for each, {} for none.",
        )
        return list(each)


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
