"""`glowdiff edit COMMAND`: pictures edited through a model's latents, or by noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax

from glowdiff.catalog.methods import build_method
from glowdiff.cli import edit_flags, told
from glowdiff.cli.edit_flags import COMMANDS, OPTIONS
from glowdiff.cli.flags import HELP, Parsed
from glowdiff.cli.main import command, initialize
from glowdiff.cli.paths import check_file, check_folder
from glowdiff.cli.words import first_word, overview
from glowdiff.config.numbers import HOTTEST
from glowdiff.config.options import changed
from glowdiff.config.sections import Config
from glowdiff.data.dataset import Dataset
from glowdiff.data.dataset import load as load_data
from glowdiff.editing import commands, painting, vector_files
from glowdiff.editing.attributes import find
from glowdiff.editing.selection import choose_rows, from_test_set
from glowdiff.editing.vectors import AttributeVector
from glowdiff.errors import printable, require
from glowdiff.inference.model import Model, load
from glowdiff.inference.request import check_negative
from glowdiff.method import Method, classes, context, row
from glowdiff.pictures import masks
from glowdiff.pictures.files import write_png
from glowdiff.pictures.inputs import Pictures, from_files, from_samples
from glowdiff.spec import DataSpec
from glowdiff.workdir import description as workdirs

Edit = Callable[[Model], commands.Result]


@command
def main(arguments: Sequence[str]) -> None:
    """Parse, and call the package; whatever was typed is checked before the model is read."""
    if arguments and arguments[0] in HELP:
        print(help_text())
        return
    name = first_word(arguments, "command", COMMANDS)
    typed = edit_flags.flags(name).parse(arguments[1:])
    edit_flags.check(name, typed)
    prepare = {"temperature": _temperature, "inpaint": _inpaint, "sdedit": _sdedit}.get(name, partial(_latents, name))
    initialize()
    require(jax.process_count() == 1, "glowdiff edit runs in one process, not on every host of a cluster.")
    check_file("--out", typed.out)
    config, spec = workdirs.read(typed.workdir)
    method = build_method(config, spec)
    commands.check_method(name, config.method, method)
    edit = prepare(typed, config, spec, method)
    model = load(typed.workdir, step=typed.step, ema=typed.ema)
    result = edit(model)
    write_png(typed.out, result.picture, least=1, attribution=spec.attribution)
    print(printable(f"{result.what}; {typed.workdir}, step {model.step}: {typed.out}"))


def help_text() -> str:
    """What there is."""
    return overview(
        "glowdiff edit COMMAND --workdir=DIR [--out=grid.png] ...",
        "Edits pictures. See docs/editing.md and docs/inpainting.md.",
        {name: each.about for name, each in COMMANDS.items()},
        "inpaint and sdedit are for diffusion models. Each command has --help.",
    )


# ---- By noise.


def _inpaint(typed: Parsed, config: Config, spec: DataSpec, method: Method) -> Edit:
    picture, choices = _by_noise(typed, config, spec, method, painted=True)
    shape = spec.shape[:2]
    if typed.mask is not None:
        repaint = masks.from_file(typed.mask, typed.image, shape)
    else:
        repaint = masks.from_shares(typed.erase, shape)
    return lambda model: painting.inpaint(model, picture, repaint, typed.count, **choices)


def _sdedit(typed: Parsed, config: Config, spec: DataSpec, method: Method) -> Edit:
    strengths = edit_flags.read_strengths(typed.strength)
    picture, choices = _by_noise(typed, config, spec, method, painted=False)
    return lambda model: painting.sdedit(model, picture, strengths, **choices)


def _by_noise(
    typed: Parsed, config: Config, spec: DataSpec, method: Method, *, painted: bool
) -> tuple[Pictures, dict[str, Any]]:
    """The picture, and choices of `painting`'s functions; if it is not `painted` it makes its own small image."""
    takes, options = method.takes, typed.options(OPTIONS)
    assert method.draws is not None
    chosen = changed(config.sampling, method.draws.options, options)
    config.model.check_sampling(chosen, "")
    check_negative(takes, chosen, typed.negative_prompt)
    hint = " It knows classes: --label=CLASS." if classes(takes) else ""
    require(
        typed.prompt is None or context(takes) > 0,
        f"--prompt is given, but this model reads no captions (model.text.name is none).{hint}",
    )
    picture, images = from_files([typed.image], spec, "--image"), told.read_images(typed, takes, spec)
    for each in takes:
        if each.needed and each.image and each.name not in images and not painted:
            images[each.name] = from_samples(typed.image, spec, each.shape, "--image")
    told.check_images(list(images), takes, ", as a smaller model has painted it")
    choices = {name: pictures.images[0] for name, pictures in images.items()}
    common = {
        "prompt": typed.prompt,
        "negative_prompt": typed.negative_prompt,
        "seed": typed.seed,
        "footer": spec.attribution,
    }
    common["allow_nonfinite"] = typed.allow_nonfinite
    return picture, {**options, **choices, **common, **_label(typed, method, spec)}


def _label(typed: Parsed, method: Method, spec: DataSpec) -> dict[str, Any]:
    """The class of the one picture that is edited."""
    label = row(method.takes, "label")
    if label is not None and label.none is not None and typed.label == "none":
        return {"label": "none"}
    labels = told.read_labels(_classes(typed, spec), method.takes, spec, 1)
    without = " or --label=none" if label is not None and label.none is not None else ""
    require(
        labels is not None or label is None,
        f"this model is class-conditional: say of which class the picture is, with --label=CLASS{without}.",
    )
    return {} if labels is None else {"label": int(labels[0])}


def _classes(typed: Parsed, spec: DataSpec) -> list[str] | None:
    """What --label names, one for all or one for each with commas, which a class's name may have too."""
    text = typed.label
    return None if text is None else [text] if text in spec.classes else text.split(",")


# ---- Through latents.


def _temperature(typed: Parsed, config: Config, spec: DataSpec, method: Method) -> Edit:
    del config
    temperatures = edit_flags.read_range("--temperatures", typed.temperatures, HOTTEST)
    require(min(temperatures) >= 0, f"--temperatures is {typed.temperatures}; none may be below 0.")
    label = told.read_labels(_classes(typed, spec), method.takes, spec, typed.count)
    return partial(
        commands.temperature, count=typed.count, temperatures=temperatures, seed=typed.seed, label=label,
        footer=spec.attribution, allow_nonfinite=typed.allow_nonfinite,
    )  # fmt: skip


def _latents(name: str, typed: Parsed, config: Config, spec: DataSpec, method: Method) -> Edit:
    """Reconstruct, interpolate, or move along an attribute."""
    moved = name == "attribute"
    alphas = edit_flags.read_range("--alpha", typed.alpha) if moved else []
    files, pairs = edit_flags.read_files(typed.images), name == "interpolate"
    rows = None if typed.index is None else edit_flags.read_index(typed.index)
    for key, named in (("images", files), ("index", rows or ())):
        require(
            not pairs or len(named) % 2 == 0,
            f"--{key} names {len(named)}; interpolate takes pairs: from the first to the second, and so on.",
        )
    dataset = _load_data(typed, config, spec) if not files or (moved and not typed.vector) else None
    if files:
        pictures = _file_pictures(typed, files, spec, method)
    else:
        assert dataset is not None
        chosen = _chosen_rows(typed, dataset, typed.count * (2 if pairs else 1), moved) if rows is None else rows
        pictures = from_test_set(dataset, chosen)
    common = {"footer": spec.attribution, "allow_nonfinite": typed.allow_nonfinite}
    if pairs:
        return lambda model: commands.interpolate(model, pictures, mode=typed.mode, steps=typed.steps, **common)
    if not moved:
        return lambda model: commands.reconstruct(model, pictures, **common)
    if dataset and typed.attribute:
        find(typed.attribute, dataset.spec)  # before anything takes time
    return lambda model: commands.attribute(
        model, pictures, _vector(typed, model, dataset), alphas, factor=typed.scale, **common
    )


def _load_data(typed: Parsed, config: Config, spec: DataSpec) -> Dataset:
    dataset = load_data(config.data)
    same = (dataset.spec.shape, dataset.spec.levels, dataset.spec.classes) == (spec.shape, spec.levels, spec.classes)
    require(same, f"the data set {spec.name} has changed since {typed.workdir} was trained: other images or classes.")
    return dataset


def _file_pictures(typed: Parsed, files: Sequence[str], spec: DataSpec, method: Method) -> Pictures:
    labels = told.read_labels(_classes(typed, spec), method.takes, spec, len(files))
    require(
        labels is not None or row(method.takes, "label") is None,
        "this model is class-conditional: say of which class the --images are, with --label=CLASS or one for each.",
    )
    return from_files(files, spec)._replace(labels=labels)


def _chosen_rows(typed: Parsed, dataset: Dataset, count: int, moved: bool) -> list[int]:
    """Test images drawn by the seed, of an attribute's command those that it filters."""
    keep = []
    if moved and typed.among:
        keep.append(find(typed.among, dataset.spec, "--among"))
    if moved and typed.without and typed.attribute:
        has = find(typed.attribute, dataset.spec)
        keep.append(lambda example: not has(example))
    return choose_rows(dataset, count, typed.seed, keep)


def _vector(typed: Parsed, model: Model, dataset: Dataset | None) -> AttributeVector:
    if not typed.vector:
        assert dataset is not None
        kept = vector_files.default_path(
            typed.workdir, typed.attribute, step=model.step, among=typed.among, ema=typed.ema
        )
        if typed.recompute or not kept.exists():
            check_folder("--workdir", str(kept.parent))  # before all images are encoded
        return vector_files.kept_or_computed(
            typed.workdir, model, dataset, typed.attribute,
            among=typed.among, ema=typed.ema, batch=typed.batch, recompute=typed.recompute,
        )  # fmt: skip
    vector = vector_files.load(typed.vector, model)
    require(
        typed.attribute in (None, vector.attribute),
        f"--vector={typed.vector} is of {vector.attribute!r}, but --attribute is {typed.attribute!r}.",
    )
    return vector
