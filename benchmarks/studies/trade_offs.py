"""The papers' claims on models trained here, in Fréchet distances, precision, recall and CLIP scores.

`python benchmarks/studies/trade_offs.py --digits=runs/ddpm_digits --emoji=runs/glide --clip=runs/clip
--judge=runs/judge --workdir=runs/glow_digits --workdir=runs/nice_digits ...`: whatever is given is measured, in the
features of EfficientNet-Lite0 (`glowdiff[features]`) against the training split, of as many samples as test images:

- guidance trades diversity (recall) for fidelity (precision): Dhariwal & Nichol, 2021; Ho & Salimans, 2021;
- fewer steps cost quality, and less with DPM-Solver++ than with DDIM: Lu et al., 2022;
- classifier-free guidance is nearer to real pictures than CLIP guidance, which has the higher CLIP score (Nichol et
  al., 2021, figure 6): by the judge, a CLIP of another seed than the one that guides;
- each run of --workdir as it is configured, and the test images, in one table.

Writes OUT/NAME.png and OUT/NAME.md for each of them, and all numbers into OUT/measured.json: what is there is not drawn
again, so that the same command goes on after an interruption.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.main import run_main
from benchmarks.report import write_report
from glowdiff.cli.main import initialize
from glowdiff.cli.prompts import fitting, in_turns
from glowdiff.data import dataset as datasets
from glowdiff.data.store import data_dir
from glowdiff.files import write_whole
from glowdiff.importers.feature_network import find
from glowdiff.inference.model import Model, load
from glowdiff.method import context
from glowdiff.metrics import images as image_sets
from glowdiff.metrics import reference
from glowdiff.metrics.drawn import shuffled
from glowdiff.metrics.features import array_batches
from glowdiff.metrics.images import Captions, Images, as_colours
from glowdiff.metrics.measurement import Measurement
from glowdiff.pictures.files import write_png
from glowdiff.pictures.plot import Line, Panel, plot

_DIGITS = flags.DEFINE_string("digits", None, "A run of configs/ddpm/digits.py.")
_EMOJI = flags.DEFINE_string("emoji", None, "A run of configs/glide/openmoji32_cpu.py or its like.")
_CLIP = flags.DEFINE_string("clip", None, "A run of the CLIP that guides it.")
_JUDGE = flags.DEFINE_string("judge", None, "A run of a CLIP that guides nothing.")
_WORKDIRS = flags.DEFINE_multi_string("workdir", [], "A run whose samples are measured as it is configured.")
_SAMPLES = flags.DEFINE_integer("samples", None, "At each point; else as many as there are test images.", lower_bound=6)
_BATCH = flags.DEFINE_integer("batch", 64, "Images at a time.", lower_bound=1)
_OUT = flags.DEFINE_string("out", "runs/trade_offs", "A folder.")

Points = Mapping[str, Mapping[str, Any]]  # choices of `Model.draw` by what they are called
SCALES = (1, 1.5, 2, 3, 5, 8)
CLIP_SCALES = (0.5, 2, 5, 10, 20)
STEPS = (5, 7, 10, 20, 40)
UNGUIDED = {"guidance_scale": None}


class Study(NamedTuple):
    """A claim, as lines in one or more plots."""

    title: str
    model: str  # the flag that names it
    curves: Mapping[str, Points]
    axes: Sequence[tuple[str, str]]  # of the plots: x and y


def free() -> Points:
    """Classifier-free guidance by scale."""
    return {f"{scale:g}": UNGUIDED if scale == 1 else {"guidance_scale": float(scale)} for scale in SCALES}


def by_clip(guide: Model) -> Points:
    """CLIP guidance by scale, without the other kind."""
    return {"0": UNGUIDED, **{f"{scale:g}": {**UNGUIDED, "guides": [(guide, scale)]} for scale in CLIP_SCALES}}


def stepped(sampler: str, spacing: str) -> Points:
    """A sampler by steps, as it is guided usually."""
    return {str(steps): {"sampler": sampler, "spacing": spacing, "steps": steps} for steps in STEPS}


def studies(guide: Model | None) -> dict[str, Study]:
    """By name; `guide` is the CLIP that guides emoji."""
    solvers = {"DDIM": stepped("ddim", "even"), "DPM-Solver++(2M)": stepped("dpmpp_2m", "log_snr")}
    traded, quality, liked = ("recall", "precision"), ("steps", "fd"), ("clip_score", "fd")
    kinds = {"classifier-free": free(), **({"CLIP": by_clip(guide)} if guide else {})}
    return {
        "guidance_digits": Study("Digits: guidance by scale", "digits", {"classifier-free": free()}, [traded]),
        "steps_digits": Study("Digits: two samplers by steps", "digits", solvers, [quality]),
        "guidance_emoji": Study(
            "Emoji: guidance by scale", "emoji", kinds, [traded, *([liked] if _JUDGE.value else [])]
        ),
        "steps_emoji": Study("Emoji: two samplers by steps", "emoji", solvers, [quality]),
    }


def main(argv: list[str]) -> None:
    """Draw, measure, write."""
    del argv
    initialize()
    out, guide = Path(_OUT.value), load(_CLIP.value) if _CLIP.value else None
    given = {name: load(path) for name, path in (("digits", _DIGITS.value), ("emoji", _EMOJI.value)) if path}
    measured = Measured(out / "measured.json")
    for name, study in studies(guide).items():
        if study.model not in given:
            continue
        subject = Subject(given[study.model], judge=_JUDGE.value if name == "guidance_emoji" else None)
        rows = [
            {"curve": curve, "value": value, **measured(f"{name}/{_key(choices)}", partial(subject.drawn, choices))}
            for curve, points in study.curves.items()
            for value, choices in points.items()
        ]
        write_png(out / f"{name}.png", plot(list(panels(study, rows)), title=study.title), least=1)
        write_report(out / name, {study.title: rows}, {"rows": rows})
    rows = [row for workdir in _WORKDIRS.value for row in as_configured(workdir, measured)]
    if rows:
        unique = list({tuple(row.values()): row for row in rows}.values())  # test images once
        write_report(out / "models", {"Samples as configured, and test images": unique}, {"rows": unique})


def panels(study: Study, rows: Sequence[Mapping[str, Any]]) -> Iterator[Panel]:
    """The plots of a study."""
    for x, y in study.axes:
        lines = []
        for curve in study.curves:
            own = [row for row in rows if row["curve"] == curve]
            points = [(float(row.get(x, row["value"])), float(row[y])) for row in own]
            lines.append(Line(curve, points, () if x == "steps" else [row["value"] for row in own]))
        yield Panel(x, y, lines)


def _key(choices: Mapping[str, Any]) -> str:
    """Choices in words."""
    scales = [scale for _, scale in choices.get("guides", ())]
    return " ".join([*(f"{name}={value}" for name, value in choices.items() if name != "guides"), *map(str, scales)])


def as_configured(workdir: str, measured: Measured) -> Iterator[dict[str, Any]]:
    """A row for the samples of a run, after one of its test images."""
    model = load(workdir)
    subject, data = Subject(model), model.config.data.name
    yield {"data": data, "images": "test set", **measured(f"models/{data}", subject.tested)}
    found = measured(f"models/{data}/{model.config.method}/{Path(workdir).name}", partial(subject.drawn, {}))
    yield {"data": data, "images": f"{model.config.method}, {Path(workdir).name}", **found}


class Measured:
    """Figures by name, kept in a file as soon as they are there."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._found: dict[str, dict[str, Any]] = json.loads(file.read_text()) if file.exists() else {}

    def __call__(self, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What is known by this name, or else is measured now."""
        if name not in self._found:
            start = time.perf_counter()
            self._found[name] = measure()
            write_whole(self._file, json.dumps(self._found, indent=1))
            print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
        return self._found[name]


class Subject:
    """A model, and what measures its samples."""

    def __init__(self, model: Model, *, judge: str | None = None) -> None:
        self._model, self._test = model, datasets.load(model.config.data).test
        self._number = _SAMPLES.value or len(self._test)
        self._measurements = [Measurement("fd,prdc", find("efficientnet_lite0"), batch=_BATCH.value)]
        look = self._measurements[0].look
        known = reference.of_images(image_sets.of_data(model.config.data, look.mesh, "--workdir"))
        self._measurements[0].compare(known, data_dir(model.config.data.dir) / "statistics")
        if judge:
            network = find(judge, "--judge", captions=True)
            self._measurements.append(Measurement("clip_score", network, batch=_BATCH.value, named_by="--judge"))

    def drawn(self, choices: Mapping[str, Any]) -> dict[str, Any]:
        """Of samples, which are told the test set's captions if the model reads any."""
        texts: list[str] = []
        if context(self._model.method.takes):
            captions = list(self._test.captions or ())
            texts = in_turns([captions[row] for row in shuffled(len(captions))], self._number)
        readers = [self._model.trained, *(guide.trained for guide, _ in choices.get("guides", ()))]
        told = {**choices, **({"prompt": fitting(texts, readers)} if texts else {})}
        images = self._model.sample(jax.random.key(0), self._number, batch=min(_BATCH.value, self._number), **told)
        return self._figures(images, texts)

    def tested(self) -> dict[str, Any]:
        """Of as many test images, the first ones."""
        return self._figures(np.stack([self._test[row]["image"] for row in range(self._number)]), [])

    def _figures(self, images: np.ndarray, texts: Sequence[str]) -> dict[str, Any]:
        coloured = as_colours(images, self._model.spec.levels)
        found: dict[str, Any] = {"samples": len(images)}
        for measurement in self._measurements:
            batches = partial(array_batches, mesh=measurement.look.mesh, image=coloured)
            captions = Captions("test", texts) if texts else None
            samples = Images("samples", "samples", len(images), images.shape[1:3], batches, captions=captions)
            measurement.check(samples)
            found |= {figure.short: figure.value for figure in measurement(samples)}
        return found


if __name__ == "__main__":
    run_main(main)
