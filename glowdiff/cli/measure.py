"""`glowdiff evaluate --metrics`: distances and scores of samples, drawn now or in a file."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from etils import epath

from glowdiff.cli import drawing, printed, sweep, told
from glowdiff.cli.drawing import Drawing
from glowdiff.cli.flags import Flags, Parsed
from glowdiff.cli.paths import check_file, check_folder
from glowdiff.cli.prompts import fitting, in_turns, of_test_set, read_prompts
from glowdiff.cli.sweep import Sweep
from glowdiff.config.sections import DataConfig
from glowdiff.data import dataset as datasets
from glowdiff.data.store import data_dir
from glowdiff.errors import ConfigError, require
from glowdiff.files import is_address
from glowdiff.importers.feature_network import find
from glowdiff.importers.workdir import named_data
from glowdiff.inference.checks import MOST
from glowdiff.inference.model import load
from glowdiff.method import context, row
from glowdiff.metrics import images, reference
from glowdiff.metrics.drawn import Stream, check_kept
from glowdiff.metrics.figures import METRICS, chosen, reads_captions
from glowdiff.metrics.images import Captions, Images
from glowdiff.metrics.measurement import Figure, Measurement
from glowdiff.metrics.reference import Reference

USUAL = 50_000  # samples
ORIGINAL = "original"  # the condition of autoencoders: images that they give back
OWN = ["features", "prepare", "reference", "samples", "samples_file", "keep", "allow_nonfinite", "sweep", "plot"]


class Subject(NamedTuple):
    """What is measured."""

    images: Images
    data: DataConfig | None = None  # of which the model has learnt, if one draws
    drawn: Stream | None = None
    tested: bool = False  # reconstructions of the test set, which is then what they are compared with


def add(flags: Flags) -> None:
    """Add the flags of the measurement, and those of what is drawn for it."""
    flags.add("metrics", f"Measures samples: {', '.join(METRICS)}; several with commas.", shown="NAMES")
    flags.add("features", "By this network: inception:FILE, efficientnet_lite0, DIR ...", shown="NETWORK")
    flags.add("prepare", "How images become what it takes; else its usual way.", shown="WAY")
    flags.add("reference", "An .npz file, a folder or a data set; else what was trained on.", shown="WHAT")
    flags.add("samples", f"How many: {USUAL:,} if not given, or all of the file.", int, low=1, high=MOST)
    flags.add("samples_file", "Of no model: an .npz file or a folder of samples.", Path)
    flags.add("keep", "Keep the samples here; typed again, it goes on.", Path, shown="DIR")
    flags.add("allow_nonfinite", told.ALLOW, bool, default=False)
    sweep.add(flags)
    drawing.add(flags)


def check(typed: Parsed) -> None:
    """Raise `ConfigError` for flags that contradict each other, or without which nothing can be measured."""
    given = typed.given
    require("images" not in given, "--images counts images of the test set; with --metrics, --samples counts samples.")
    require("features" in given, "--features is missing: it names the network that measures, such as inception:FILE.")
    require(
        ("workdir" in given) != ("samples_file" in given),
        "--metrics measures either what --workdir draws or the samples of --samples_file: "
        + ("both were given." if "workdir" in given else "neither was given."),
    )
    if "samples_file" in given:
        for name in ("step", "ema", "keep", "allow_nonfinite", *drawing.DECIDING):
            require(name not in given, f"--{name} is given, but nothing is drawn: --samples_file holds the samples.")
    drawing.check(typed, prompted=False)


def measure(typed: Parsed, swept: Sweep | None = None) -> None:
    """Draw or read, look, compare and print; for every value of a sweep."""
    prompts = read_prompts(typed.prompt, typed.prompts)
    network = find(typed.features, captions=reads_captions(chosen(typed.metrics)))
    measurement = Measurement(typed.metrics, network, prepare=typed.prepare, batch=typed.batch)
    plot, drawn = _plot(typed, swept), "workdir" in typed.given
    subjects = _drawn(typed, swept, prompts, measurement) if drawn else [_filed(typed, measurement)]
    samples = subjects[0]
    measurement.check(samples.images)
    compared = _reference(typed, samples, measurement) if measurement.compares else None
    require(compared is not None or "reference" not in typed.given, "--reference is given, but no metric compares.")
    # Whatever is wrong with what is drawn is said before the reference is looked at, which may take long.
    begun = [_begun(measurement.look.batches(samples.images)), *[None] * (len(subjects) - 1)]
    if compared is not None:
        measurement.compare(compared, data_dir(samples.data.dir if samples.data else None) / "statistics")
    found: list[list[Figure]] = []
    for subject, batches in zip(subjects, begun, strict=True):
        found.append(measurement(subject.images, batches))
        if jax.process_index() == 0:
            _show(measurement, subject, found, compared, swept)
    if swept and jax.process_index() == 0:
        printed.print_sweep(swept, found)
        sweep.draw(plot, swept, found)


def _plot(typed: Parsed, swept: Sweep | None) -> str:
    """The file of a sweep's plot, which could be written now."""
    if swept is None:
        return ""
    path = typed.plot or str(epath.Path(typed.workdir) / "sweeps" / f"{swept.name}.png")
    if jax.process_index() == 0:
        check_file("--plot", path)
    return path


def _drawn(typed: Parsed, swept: Sweep | None, prompts: list[str], measurement: Measurement) -> list[Subject]:
    """Samples of the workdir's model, for every value of a sweep."""
    model = load(typed.workdir, step=typed.step, ema=typed.ema)
    what, texts = drawing.drawing(typed, model, prompts), prompts
    if not prompts and ("clip" in typed.given or context(model.method.takes)):
        texts = of_test_set(model.trained, typed.workdir)
        what = what.prompted(fitting(texts, what.readers()))
    back = row(model.method.takes, ORIGINAL) is not None
    what, number = _given_back(typed, what) if back else (what, typed.samples or USUAL)
    spec = what.last.spec
    images.check_channels(f"--workdir is {typed.workdir}, whose images", spec.shape[-1])
    captions = Captions("prompts" if prompts else f"{spec.name}_test", in_turns(texts, number)) if texts else None
    subjects = []
    for point in swept.points if swept else [typed]:
        each = what.asked(point)
        each.check()
        told_all = {name: getattr(point, name) for name in drawing.DECIDING if name in point.given or name == "seed"}
        keep = _kept(typed, swept, point, {"step": model.step, "batch": measurement.look.batch, **told_all})
        stream = Stream(
            each.samples, spec, typed.seed, number, allow_nonfinite=typed.allow_nonfinite, keep=keep,
            prompts=captions.texts if captions else (),
        )  # fmt: skip
        said = [f"step {model.step}", *([] if typed.ema else ["raw parameters"])]
        said += [f"{name}={value}" for name, value in told_all.items()]
        said += [] if prompts or not texts else [f"prompts of the test set ({len(texts):,})"]
        said += ["reconstructions of test images"] if back else []
        about = f"{typed.workdir}, {', '.join(said)}"
        drawn = Images("samples", about, number, spec.shape[:2], stream.batches, captions=captions)
        subjects.append(Subject(drawn, what.last.config.data, stream, back))
    return subjects


def _given_back(typed: Parsed, what: Drawing) -> tuple[Drawing, int]:
    """An autoencoder drawing what it gives back of test images, and how many of them."""
    test = datasets.load(what.last.config.data).test
    number = typed.samples or len(test)
    require(number <= len(test), f"--samples is {number:,}, but the test set has {len(test):,} images to encode.")
    return what._replace(of_each={**what.of_each, ORIGINAL: images.Pixels(test)}), number


def _kept(typed: Parsed, swept: Sweep | None, point: Parsed, facts: dict[str, Any]) -> Path | None:
    """The folder in which samples are kept, which holds none that depend on other facts."""
    if not typed.keep:
        return None
    require(not is_address(typed.keep), f"--keep is {typed.keep}; it must be a folder that all processes see.")
    if jax.process_index() == 0:
        check_folder("--keep", typed.keep)
    folder = Path(typed.keep) / (f"{swept.name}={getattr(point, swept.name)}" if swept else "")
    check_kept(folder, {"workdir": str(Path(typed.workdir).absolute()), "ema": typed.ema, **facts})
    return folder


def _filed(typed: Parsed, measurement: Measurement) -> Subject:
    """Samples that somebody has drawn, with their captions if these are needed."""
    path, mesh = typed.samples_file, measurement.look.mesh
    common = {"limit": typed.samples, "captioned": measurement.needed.captions}
    if Path(path).is_dir():
        data = DataConfig(name="folder", path=path)
        return Subject(images.of_data(data, mesh, "--samples_file", whole=True, **common))
    return Subject(images.of_file(Path(path), mesh, "--samples_file", **common))


def _reference(typed: Parsed, samples: Subject, measurement: Measurement) -> Reference:
    """What the samples are compared with, of which a file's statistics are read."""
    text, size = typed.reference, samples.images.shape
    if text is not None and text.endswith(".npz"):
        found = reference.of_file(Path(text).expanduser(), measurement.wanted, measurement.look)
    else:
        config, whole = samples.data, False
        if text is not None:
            whole = Path(text).expanduser().is_dir()
            a_path = text.startswith((".", "/", "~")) or text.count("/") > 1  # data sets are NAME or NAME/CATEGORY
            require(whole or not a_path, f"--reference is {text}, where there is no folder.")
            section: dict[str, Any] = named_data(text, size[0])
            config = DataConfig(**(section if size[0] == size[1] else {**section, "size": None}))
        if config is None:
            raise ConfigError("--reference is missing: an .npz file, a folder or a data set to compare samples with.")
        tested = samples.tested and text is None  # the very images that were encoded
        limit, mesh = samples.images.number if tested else None, measurement.look.mesh
        data = images.of_data(config, mesh, "--reference", whole=whole, tested=tested, limit=limit)
        found = reference.of_images(data)
    measurement.check_reference(found, size)
    return found


def _begun(batches: Iterator[Any]) -> Iterator[Any]:
    """The same batches, of which the first is there already."""
    return itertools.chain([next(batches)], batches)


def _show(
    measurement: Measurement,
    subject: Subject,
    found: Sequence[Sequence[Figure]],
    compared: Reference | None,
    swept: Sweep | None,
) -> None:
    """Print what has been found last, and above the first what it is of."""
    number, lost = subject.images.number, subject.drawn.lost if subject.drawn else 0
    of = subject.images.about + (f"; {lost:,} of them not finite" if lost else "")
    value = {swept.name: getattr(swept.points[len(found) - 1], swept.name)} if swept else {}
    if len(found) == 1:
        head = of
        if swept:
            head = of.replace(f"{swept.name}={value[swept.name]}", f"{swept.name}={', '.join(swept.values)}")
        printed.print_head(measurement, f"{number:,} of {head}", compared)
    if not swept:
        printed.print_figures(found[0])
    about = {"network": measurement.network, "prepare": measurement.look.prepare, "samples": number, "of": of}
    against = {"not_finite": lost, "reference": compared.about if compared else None}
    printed.print_json(about | against | value, found[-1])
