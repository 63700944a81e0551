"""`glowdiff evaluate --metrics`: distances and scores of samples, drawn now or in a file."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from glowdiff.cli import drawing, told
from glowdiff.cli.drawn import Stream, check_kept
from glowdiff.cli.flags import Flags, Parsed
from glowdiff.cli.paths import check_folder
from glowdiff.cli.prompts import read_prompts
from glowdiff.config.sections import DataConfig
from glowdiff.data import dataset as datasets
from glowdiff.data.store import data_dir
from glowdiff.errors import ConfigError, printable, require
from glowdiff.files import is_address
from glowdiff.importers.feature_network import find, named
from glowdiff.importers.workdir import named_data
from glowdiff.inference.checks import MOST
from glowdiff.inference.model import load
from glowdiff.method import row
from glowdiff.metrics import figures, images, reference
from glowdiff.metrics.figures import METRICS, Metric, Needs
from glowdiff.metrics.images import Images
from glowdiff.metrics.look import Look
from glowdiff.metrics.reference import Reference

USUAL = 50_000  # samples
ORIGINAL = "original"  # the condition of autoencoders: images that they give back
OWN = ["features", "prepare", "reference", "samples", "samples_file", "keep", "allow_nonfinite"]


class Subject(NamedTuple):
    """What is measured."""

    images: Images
    data: DataConfig | None = None  # of which the model has learnt, if one draws
    drawn: Stream | None = None
    test: bool = False  # reconstructions of the test set, which is then what they are compared with


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
    drawing.check(typed)


def measure(typed: Parsed) -> None:
    """Draw or read, look, compare and print."""
    metrics, prompts = figures.chosen(typed.metrics), read_prompts(typed.prompt, typed.prompts)
    part = find(typed.features)
    network = part.config.model.network
    figures.check_network(metrics, network.name)
    needed, wanted = (figures.needs(metrics, network.main, reference=which) for which in (False, True))
    names = dict.fromkeys(name for needs in (needed, wanted) for kind in needs for name in kind)
    look = Look(part, list(names), typed.prepare, typed.batch)
    samples = _drawn(typed, prompts, look) if "workdir" in typed.given else _filed(typed, look.mesh)
    figures.check_count(metrics, samples.images.number, "the samples")
    compared = _reference(typed, metrics, wanted, samples, look) if any(wanted) else None
    require(compared is not None or "reference" not in typed.given, "--reference is given, but no metric compares.")
    # Whatever is wrong with what is drawn is said before the reference is looked at, which may take long.
    begun = _begun(look.batches(samples.images))
    folder = data_dir(samples.data.dir if samples.data else None) / "statistics"
    known = None if compared is None else reference.measured(compared, wanted, look, folder)
    seen = look(samples.images, needed, "measuring samples", begun)
    found = figures.figures(metrics, network.main, seen, known)
    if jax.process_index() == 0:
        _show(metrics, found, named(network), look.prepare, samples, compared)


def _drawn(typed: Parsed, prompts: list[str], look: Look) -> Subject:
    """Samples of the workdir's model."""
    model = load(typed.workdir, step=typed.step, ema=typed.ema)
    what = drawing.drawing(typed, model, prompts)
    spec, number, original = what.last.spec, typed.samples or USUAL, row(model.method.takes, ORIGINAL)
    if original is not None:
        test = datasets.load(model.config.data).test
        number = typed.samples or len(test)
        require(number <= len(test), f"--samples is {number:,}, but the test set has {len(test):,} images to encode.")
        what = what._replace(of_each={**what.of_each, ORIGINAL: images.Pixels(test)})
    images.check_channels(f"--workdir is {typed.workdir}, whose images", spec.shape[-1])
    told_all = {name: getattr(typed, name) for name in drawing.DECIDING if name in typed.given or name == "seed"}
    keep = Path(typed.keep) if typed.keep else None
    if keep is not None:
        require(not is_address(typed.keep), f"--keep is {typed.keep}; it must be a folder that all processes see.")
        if jax.process_index() == 0:
            check_folder("--keep", typed.keep)
        workdir = str(Path(typed.workdir).absolute())
        check_kept(keep, {"workdir": workdir, "step": model.step, "ema": typed.ema, "batch": look.batch, **told_all})
    stream = Stream(what, typed.seed, number, allow_nonfinite=typed.allow_nonfinite, keep=keep)
    chosen = ", ".join(f"{name}={value}" for name, value in told_all.items())
    about = f"{typed.workdir}, step {model.step}{'' if typed.ema else ', raw parameters'}, {chosen}"
    if original is not None:
        about = f"{about}, reconstructions of test images"
    seen = Images("samples", about, number, spec.shape[:2], stream.batches)
    return Subject(seen, what.last.config.data, stream, original is not None)


def _filed(typed: Parsed, mesh: Mesh) -> Subject:
    """Samples that somebody has drawn."""
    path, key = typed.samples_file, "--samples_file"
    if Path(path).is_dir():
        data = DataConfig(name="folder", path=path)
        return Subject(images.of_data(data, mesh, key, whole=True, limit=typed.samples))
    return Subject(images.of_file(Path(path), mesh, key, typed.samples))


def _reference(typed: Parsed, metrics: Mapping[str, Metric], wanted: Needs, samples: Subject, look: Look) -> Reference:
    """What the samples are compared with, of which a file's statistics are read."""
    text, size = typed.reference, samples.images.shape
    if text is not None and text.endswith(".npz"):
        found = reference.of_file(Path(text).expanduser(), wanted, look)
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
        test = samples.test and text is None  # the same images that were given
        limit = samples.images.number if test else None
        data = images.of_data(config, look.mesh, "--reference", whole=whole, test=test, limit=limit)
        found = Reference(data.name, data, {}, f"{data.about}, {data.number:,} images")
    if found.images is not None:
        shape, number = found.images.shape, found.images.number
        require(
            shape == size,
            f"the reference {found.images.about} has images of {shape[0]}x{shape[1]} pixels, but the samples have "
            f"{size[0]}x{size[1]}; resizing would be measured too.",
        )
        figures.check_count(metrics, number, "the reference's images", reference=True)
    return found


def _begun(batches: Iterator[Any]) -> Iterator[Any]:
    """The same batches, of which the first is there already."""
    return itertools.chain([next(batches)], batches)


def _show(
    metrics: Mapping[str, Metric],
    found: Mapping[str, Mapping[str, float]],
    network: str,
    prepare: str,
    samples: Subject,
    compared: Reference | None,
) -> None:
    """Print every figure with its convention, for people and as a line of JSON."""
    number, lost = samples.images.number, samples.drawn.lost if samples.drawn else 0
    of = samples.images.about + (f"; {lost:,} of them not finite" if lost else "")
    lines, values = [], {}
    for name, metric in metrics.items():
        for figure, value in found[name].items():
            against = compared.name if compared and metric.compares else None
            full = figures.full_name(figure, network, prepare, number, against)
            values[full] = value
            lines.append((full, f"{value:.6g}", metric.conventions[figure]))
    print(f"network    {network}, images prepared the way {prepare}")
    print(printable(f"samples    {number:,} of {of}"))
    if compared is not None:
        print(printable(f"reference  {compared.about}"))
    widths = [max(len(line[column]) for line in lines) for column in (0, 1)]
    for full, value, convention in lines:
        print(printable(f"{full:{widths[0]}}  {value:>{widths[1]}}  {convention}"))
    about = {"network": network, "prepare": prepare, "samples": number, "of": of, "not_finite": lost}
    print(json.dumps(about | {"reference": compared.about if compared else None, "figures": values}))
