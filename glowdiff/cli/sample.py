"""`glowdiff sample`: samples of a model, of a cascade, with guides, as a picture, arrays or a film."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from glowdiff.cli import told
from glowdiff.cli.flags import Flags, Parsed
from glowdiff.cli.main import command, initialize
from glowdiff.cli.paths import check_ending, check_file
from glowdiff.cli.prompts import in_turns, read_prompts
from glowdiff.config.numbers import STRONGEST
from glowdiff.config.options import configured
from glowdiff.diffusion.conditions import FILES
from glowdiff.errors import ConfigError, printable, require
from glowdiff.inference.cascade import Cascade
from glowdiff.inference.checks import check_count
from glowdiff.inference.drawer import Samples
from glowdiff.inference.finite import not_finite
from glowdiff.inference.model import Model, load
from glowdiff.method import row
from glowdiff.pictures.files import check_cells, grid, write_gif, write_npz, write_png
from glowdiff.pictures.labelled import captioned_grid
from glowdiff.profiling.profiler import Profiler
from glowdiff.profiling.span import Span, read_span
from glowdiff.spec import DataSpec

OPTIONS = [each.name for each in configured()]
UPSAMPLER = "upsampler_"  # in front of the options of upsamplers
GUIDES = {"classifier": "a classifier of noised images", "clip": "a CLIP of noised images, towards the prompts"}
NEEDS = {
    "frames": "film",
    **{f"{name}_scale": name for name in GUIDES},
    **{UPSAMPLER + name: "upsampler" for name in OPTIONS},
}


def flags() -> Flags:
    """What the command takes."""
    flags = Flags(
        "glowdiff sample",
        "Draws samples.",
        "docs/sampling.md and docs/text_to_image.md",
        "--workdir=DIR [--num=64] ...",
    )
    flags.add("workdir", "What `glowdiff train` wrote.", Path, shown="DIR", needed=True)
    flags.add("out", "A picture of all samples, or the samples (.npz).", Path, default="samples.png")
    flags.add("num", "How many: 64 if not given, or as many as prompts or images.", int, low=1)
    flags.add("seed", "Another seed draws other samples.", int, default=0, low=0, high=2**32 - 1)
    flags.add("label", "The class: its number or name, or none. Else any.", shown="CLASS")
    flags.add("prompt", "What to draw, in words. May be repeated.", repeated=True)
    flags.add("prompts", "A text file of prompts, one per line.", Path)
    told.add_images(flags)
    flags.add("upsampler", "Enlarges the samples. May be repeated, in order.", Path, shown="DIR", repeated=True)
    for name, about in GUIDES.items():
        flags.add(name, f"Guides the samples: {about}.", Path, shown="DIR")
        flags.add(f"{name}_scale", "How strongly it does.", float, default=1.0, low=-STRONGEST, high=STRONGEST)
    flags.add("film", "Also write how the samples came about, a .gif.", Path)
    flags.add("frames", "Pictures of the film, at most one per step.", int, default=24, low=2)
    flags.add("step", "The checkpoint; else the newest.", int)
    flags.add("batch", "How many at a time; changes no sample.", int, default=64, low=1)
    flags.add("ema", "Averaged parameters, or --noema: raw ones.", bool, default=True)
    flags.add("allow_nonfinite", told.ALLOW, bool, default=False)
    flags.add("profile", "Trace the batches after FROM, up to TO.", shown="FROM:TO")
    flags.add_options(OPTIONS)
    flags.add_options(OPTIONS, UPSAMPLER)
    more = [*(f"{name}_scale" for name in GUIDES), "frames", "step", "batch", "ema", "allow_nonfinite", "profile"]
    flags.shorten(more, "Also: ...")
    flags.shorten(OPTIONS, "Unless given, as the model was configured: ...")
    flags.shorten([UPSAMPLER + name for name in OPTIONS], f"Of upsamplers: the same with --{UPSAMPLER} in front.")
    return flags


@command
def main(arguments: Sequence[str]) -> None:
    """Parse, and call the package."""
    typed = flags().parse(arguments)
    _check(typed)
    span = None if typed.profile is None else read_span("--profile", typed.profile)
    prompts = read_prompts(typed.prompt, typed.prompts)
    initialize()
    if jax.process_index() == 0:
        check_file("--out", typed.out)
        if typed.film:
            check_file("--film", typed.film)
    model = load(typed.workdir, step=typed.step, ema=typed.ema)
    draws = model.method.draws
    if draws is None:
        raise ConfigError(f"--workdir is {typed.workdir}, of method {model.config.method}, which draws no samples.")
    require(
        "film" not in typed.given or "frames" in draws.options,
        "--film is given, but this model's samples have no steps.",
    )
    with _profiler(typed, span) as profiler:
        drawn, number, prompts, spec = _draw(typed, model, prompts, profiler)
    if jax.process_index() == 0:
        _write(typed, drawn, prompts, spec)
        fault = not_finite(drawn.finite)
        line = f"{number} samples of {typed.workdir} (step {model.step}): {typed.out}{f'; {fault}' if fault else ''}"
        print(printable(line))


def _check(typed: Parsed) -> None:
    """Raise `ConfigError` for flags that contradict each other, or mean nothing without another one."""
    given = typed.given
    check_ending("--out", typed.out, ".png", ".npz")
    if typed.film:
        check_ending("--film", typed.film, ".gif")
    for name, other in NEEDS.items():
        require(name not in given or other in given, f"--{name} is given, but no --{other}.")
    require(
        "clip" not in given or bool(given & {"prompt", "prompts"}),
        "--clip is given, but no --prompt towards which it could guide.",
    )
    reasons = dict.fromkeys(FILES, "it enlarges what --workdir draws") | {"film": "a cascade draws no films"}
    for name, why in reasons.items():
        require(not {name, "upsampler"} <= given, f"--upsampler is given, and --{name}: {why}; leave one of them out.")


def _profiler(typed: Parsed, span: Span | None) -> contextlib.AbstractContextManager[Profiler | None]:
    """What traces batches, to a folder beside the samples: a workdir is only read."""
    if span is None:
        return contextlib.nullcontext()
    folder = Path(typed.out).with_suffix(".profile")
    return Profiler(span, folder, lambda line: print(printable(line)), "batch")


def _draw(
    typed: Parsed, model: Model, prompts: list[str], profiler: Profiler | None
) -> tuple[Samples, int, list[str], DataSpec]:
    """The samples, how many, the prompt of each, and the facts about them."""
    number = typed.num or {0: 64, 1: 16}.get(len(prompts), len(prompts))
    images, choices = told.read_images(typed, model.method.takes, model.spec), typed.options(OPTIONS)
    if "label" in typed.given:
        choices["label"] = told.read_label(typed.label, model.spec)
    if images:
        number = typed.num or max(*(len(each.images) for each in images.values()), len(prompts))
    _check_number(typed, number, model.spec)
    for name, pictures in images.items():
        turns = np.resize(np.arange(len(pictures.images)), number)
        choices[name] = pictures.images[turns]
        if pictures.labels is not None and row(model.method.takes, "label"):
            choices.setdefault("label", pictures.labels[turns])
    prompts = in_turns(prompts, number)
    if prompts:
        choices["prompt"] = prompts
    key = jax.random.key(typed.seed)
    common = {"batch": typed.batch, "allow_nonfinite": typed.allow_nonfinite, "profiler": profiler}
    choices["guides"] = _guides(typed)
    if "upsampler" in typed.given:
        upsamplers = [load(workdir, ema=typed.ema) for workdir in typed.upsampler]
        _check_number(typed, number, upsamplers[-1].spec)
        own = [typed.options(OPTIONS, UPSAMPLER)] * len(upsamplers)
        drawn = Cascade(model, *upsamplers).draw(key, n=number, upsampler=own, **common, **choices)
        return drawn, number, prompts, upsamplers[-1].spec
    told.check_images(list(images), model.method.takes)
    if "film" in typed.given:
        choices["frames"] = typed.frames
    return model.draw(key, number, **common, **choices), number, prompts, model.spec


def _check_number(typed: Parsed, number: int, spec: DataSpec) -> None:
    """Raise `ConfigError` for more samples than memory holds, or than a picture shows, before any is drawn."""
    check_count("--num", number, spec.shape)
    if not typed.out.endswith(".npz") or typed.film:
        check_cells(f"--num is {number}", number, spec.shape[:2], " --out=FILE.npz holds any number.")


def _guides(typed: Parsed) -> list[tuple[Model, float]]:
    """Models that guide, and how strongly."""
    guides = []
    for name in GUIDES:
        if name in typed.given:
            workdir = getattr(typed, name)
            guide = load(workdir)
            method = guide.config.method
            require(method == name, f"--{name} is {workdir}, a model of method {method}, not {name}.")
            guides.append((guide, getattr(typed, f"{name}_scale")))
    return guides


def _write(typed: Parsed, drawn: Samples, prompts: Sequence[str], spec: DataSpec) -> None:
    images, due = drawn.images, spec.attribution
    if "film" in typed.given:
        frames = [grid(images[:, i], spec.levels) for i in range(images.shape[1])]
        write_gif(typed.film, frames, attribution=due)
        images = images[:, -1]  # the last prediction is the sample
    if typed.out.endswith(".npz"):
        labels = None if typed.label == "none" else drawn.labels
        write_npz(typed.out, images, labels, spec.levels, prompts=prompts, attribution=due)
    elif prompts:
        write_png(typed.out, captioned_grid(images, spec.levels, prompts), least=1, attribution=due)
    else:
        write_png(typed.out, grid(images, spec.levels), attribution=due)
