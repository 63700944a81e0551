"""`glowdiff evaluate`: figures of a model on its test set, or distances and scores of its samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from glowdiff.cli import drawing, measure, sweep
from glowdiff.cli.flags import Flags, Parsed
from glowdiff.cli.main import command, initialize
from glowdiff.config.options import SampleOptions, as_float32, changed
from glowdiff.data import captioned
from glowdiff.data.batches import eval_batches
from glowdiff.data.dataset import Dataset
from glowdiff.errors import require
from glowdiff.inference.model import Model, load
from glowdiff.metrics.bits_per_dim import BOUND, make_evaluator
from glowdiff.metrics.scores import describe, mean_scores

_WORKDIR = "What `glowdiff train` wrote."
Batches = Callable[[], Iterator[Any]]  # the test set, from its beginning


def flags() -> Flags:
    """What the command takes."""
    flags = Flags(
        "glowdiff evaluate",
        "Scores a model on its test set, or measures samples.",
        "docs/metrics.md",
        "--workdir=runs/glow_digits [--metrics=fid --features=inception:FILE]",
    )
    flags.add("workdir", _WORKDIR, Path, shown="DIR")
    flags.add("images", "Only so many test images, the first ones.", int, low=1)
    flags.add("batch", "Images at a time; changes no figure but those of CLIP.", int, default=64, low=1)
    flags.add("step", "The checkpoint; else the newest.", int)
    flags.add("ema", "Averaged parameters, or --noema: raw ones.", bool, default=True)
    measure.add(flags)
    drawing.add_options(flags, f"How they are drawn, else as configured ({' and '.join(BOUND)} also of the bound): ...")
    flags.shorten(["step", "batch", "ema", "prepare", "keep", "allow_nonfinite", "plot"], "Also: ...")
    flags.shorten(["seed", *drawing.TOLD], "What samples are told, as of `glowdiff sample`: ...")
    return flags


@command
def main(arguments: Sequence[str]) -> None:
    """Parse, and call the package."""
    known = flags()
    typed = known.parse(arguments)
    if typed.metrics is not None:
        swept = sweep.read(known, arguments, typed)
        for point in swept.points if swept else [typed]:
            measure.check(point)
        initialize()
        measure.measure(typed, swept)
        return
    require("workdir" in typed.given, f"--workdir is missing: {_WORKDIR}")
    for name in (*measure.OWN, *drawing.DECIDING):
        require(name in BOUND or name not in typed.given, f"--{name} is given, but no --metrics.")
    initialize()
    model = load(typed.workdir, step=typed.step, ema=typed.ema)
    options = _bound_options(typed, model)
    dataset = captioned.load(model.config, typed.workdir).dataset
    batches = _batches(dataset, -(-typed.batch // model.mesh.size) * model.mesh.size, typed.images)
    figures = _scores(model, batches) | _bits_per_dim(model, batches, options)
    require(bool(figures), f"a model of method {model.config.method} has no figures of a test set.")
    if jax.process_index() == 0:
        images = min(len(dataset.test), typed.images or len(dataset.test))
        for name, value in figures.items():
            print(f"{describe(f'test_{name}')}: {value:.4f}  ({images:,} images, step {model.step})")


def _bound_options(typed: Parsed, model: Model) -> SampleOptions | None:
    """Those of the bound; None: it is over all timesteps, or exact."""
    choices, draws = typed.options(BOUND), model.method.draws
    if not choices:
        return None
    codec = model.method.codec
    require(
        codec is None or codec.bounded,
        f"--{next(iter(choices))} is given, but a model that works in latents has no bound in pixels; its loss is that "
        "of latents.",
    )
    new = changed(model.config.sampling, draws.options if draws else (), choices)
    model.config.model.check_sampling(new, "")
    return as_float32(new)


def _batches(dataset: Dataset, size: int, limit: int | None) -> Batches:
    return lambda: eval_batches(
        dataset, batch=size, limit=limit, process_index=jax.process_index(), process_count=jax.process_count()
    )


def _scores(model: Model, batches: Batches) -> dict[str, float]:
    """What is measured in training too."""
    scores = model.method.scores
    return {} if scores is None else mean_scores(scores, model.mesh)(model.variables, batches())


def _bits_per_dim(model: Model, batches: Batches, options: SampleOptions | None) -> dict[str, float]:
    if model.method.bits_per_dim is None:
        return {}
    evaluate = make_evaluator(model.method, model.mesh, options=options)
    return {"bits_per_dim": evaluate(model.variables, batches())}
