"""`glowdiff sample`: samples of a model, of a cascade, with guides, as a picture, arrays or a film."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from glowdiff.cli import drawing, told
from glowdiff.cli.drawing import Drawing
from glowdiff.cli.flags import Flags, Parsed
from glowdiff.cli.main import command, initialize
from glowdiff.cli.paths import check_ending, check_file
from glowdiff.cli.prompts import in_turns, read_prompts
from glowdiff.diffusion.conditions import FILES
from glowdiff.errors import printable, require
from glowdiff.inference.checks import check_count
from glowdiff.inference.drawer import Samples
from glowdiff.inference.finite import not_finite
from glowdiff.inference.model import load
from glowdiff.pictures.files import check_cells, grid, write_gif, write_npz, write_png
from glowdiff.pictures.labelled import captioned_grid
from glowdiff.profiling.profiler import Profiler
from glowdiff.profiling.span import Span, read_span
from glowdiff.spec import DataSpec


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
    drawing.add(flags)
    flags.add("film", "Also write how the samples came about, a .gif.", Path)
    flags.add("frames", "Pictures of the film, at most one per step.", int, default=24, low=2)
    flags.add("step", "The checkpoint; else the newest.", int)
    flags.add("batch", "How many at a time; changes no sample.", int, default=64, low=1)
    flags.add("ema", "Averaged parameters, or --noema: raw ones.", bool, default=True)
    flags.add("allow_nonfinite", told.ALLOW, bool, default=False)
    flags.add("profile", "Trace the batches after FROM, up to TO.", shown="FROM:TO")
    drawing.add_options(flags)
    more = [
        *drawing.SCALES,
        "long_prompts",
        "noise_level",
        "frames",
        "step",
        "batch",
        "ema",
        "allow_nonfinite",
        "profile",
    ]
    flags.shorten(more, "Also: ...")
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
    drawn_by = drawing.drawing(typed, model, prompts)
    require(
        "film" not in typed.given or bool(model.method.draws and "frames" in model.method.draws.options),
        "--film is given, but this model's samples have no steps.",
    )
    number = _number(typed, drawn_by, prompts)
    with _profiler(typed, span) as profiler:
        drawn = _draw(typed, drawn_by, number, profiler)
    if jax.process_index() == 0:
        _write(typed, drawn, in_turns(prompts, number), drawn_by.last.spec)
        fault = not_finite(drawn.finite)
        line = f"{number} samples of {typed.workdir} (step {model.step}): {typed.out}{f'; {fault}' if fault else ''}"
        print(printable(line))


def _check(typed: Parsed) -> None:
    """Raise `ConfigError` for flags that contradict each other, or mean nothing without another one."""
    given = typed.given
    check_ending("--out", typed.out, ".png", ".npz")
    if typed.film:
        check_ending("--film", typed.film, ".gif")
    require("frames" not in given or "film" in given, "--frames is given, but no --film.")
    drawing.check(typed)
    require(
        not {"film", "upsampler"} <= given,
        "--upsampler is given, and --film: a cascade draws no films; leave one of them out.",
    )


def _profiler(typed: Parsed, span: Span | None) -> contextlib.AbstractContextManager[Profiler | None]:
    """What traces batches, to a folder beside the samples: a workdir is only read."""
    if span is None:
        return contextlib.nullcontext()
    folder = Path(typed.out).with_suffix(".profile")
    return Profiler(span, folder, lambda line: print(printable(line)), "batch")


def _number(typed: Parsed, drawn_by: Drawing, prompts: Sequence[str]) -> int:
    """How many samples; a `ConfigError` for more than memory holds, or than a picture shows, before any is drawn."""
    number = typed.num or {0: 64, 1: 16}.get(len(prompts), len(prompts))
    if any(name in typed.given for name in FILES):
        number = typed.num or max(map(len, drawn_by.of_each.values()))
    shape = drawn_by.last.spec.shape
    check_count("--num", number, shape)
    if not typed.out.endswith(".npz") or typed.film:
        check_cells(f"--num is {number}", number, shape[:2], " --out=FILE.npz holds any number.")
    return number


def _draw(typed: Parsed, drawn_by: Drawing, number: int, profiler: Profiler | None) -> Samples:
    choices = drawn_by.choices(np.arange(number))
    if "film" in typed.given:
        choices["frames"] = typed.frames
    common = {"batch": typed.batch, "allow_nonfinite": typed.allow_nonfinite, "profiler": profiler}
    return drawn_by.draw(jax.random.key(typed.seed), n=number, **common, **choices)


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
