"""What all published systems share: flags -> configuration -> module, weights -> variables, and a workdir of both."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path as FilePath
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from glowdiff.catalog.methods import METHODS
from glowdiff.catalog.parse import Settings, parse
from glowdiff.config.sections import Config
from glowdiff.diffusion.build import classifying_module, clip_module, denoising_module
from glowdiff.errors import require, require_choice
from glowdiff.flows.build import glow_module
from glowdiff.importers import weights_files
from glowdiff.importers.mapping import Arrays, Path, Source, WeightsError, convert, float32, leaves
from glowdiff.importers.workdir import check_new, facts, named_data, write
from glowdiff.method import batch_shapes
from glowdiff.networks.features import features_module
from glowdiff.sharding import Platform, make_mesh, replicated
from glowdiff.spec import DataSpec
from glowdiff.text.tokenizer import Tokenizer
from glowdiff.trained import Trained, keep

DTYPES = ("float32", "bfloat16")
NAME_DATA = "name them: --data=cifar10 (any name of a data set), --data=FILE.npz or --data=FOLDER."
_ANY = "unknown"  # data of which a module alone knows no more than the flags say
_PLATFORM = Platform("cpu")  # modules for use by hand run everywhere
_MODULES: dict[str, Callable[..., Any]] = {
    "diffusion": denoising_module, "classifier": classifying_module, "clip": clip_module, "glow": glow_module,
    "features": features_module,
}  # fmt: skip


class File(NamedTuple):
    """One of the files that a system's weights come in."""

    flag: str = "weights"
    help: str = "its state dict: a .pt, .safetensors or .npz file, or the .json index of safetensors in shards"
    title: str = ""  # in front of what is wrong with it


class Request(NamedTuple):
    """What is asked of a workdir beside the weights and their flags."""

    release: str | None = None  # the release's name, if it is one
    data: str | None = None  # a data set's name, an .npz file or a folder of images; None: see `Family.data`
    batch: int = 0  # images per step if training goes on; 0: as published
    dtype: str = "float32"  # of the networks' arithmetic; the originals' is float32, or float16
    vocabulary: FilePath | None = None  # the file of the original's; None: the package that has it fetches it


def as_they_are(flags: Any, arrays: Arrays) -> Arrays:
    """The names of a file are those that the sources speak of."""
    del flags
    return arrays


def no_averages(arrays: dict[str, np.ndarray]) -> tuple[Arrays, Arrays]:
    """All that a file holds are weights."""
    return arrays, {}


@dataclasses.dataclass(frozen=True)
class Family:
    """A published system; whatever its own vocabulary makes of flags is called `flags` here."""

    name: str  # of the command
    help: str
    # A dictionary of flags, whose numbers and booleans may be strings -> flags; a `ConfigError`, if there is a flag
    # that the original does not have, or one of another type, or they ask for what cannot be.
    parse: Callable[[Mapping[str, Any]], Any]
    spec: Callable[[Any, str], DataSpec]  # (flags, name of the data) -> what the flags say of the images
    # (flags, the release's name or None) -> the `data` section of what it was trained on, or a `ConfigError`
    data: Callable[[Any, str | None], dict[str, Any]]
    # (flags, `data` section, images per step or 0) -> model, training and sampling
    settings: Callable[[Any, Mapping[str, Any], int], Settings]
    # (flags, paths of our arrays) -> by file, where each of them comes from
    sources: Callable[[Any, list[Path]], Mapping[str, Mapping[Path, Source]]]
    files: tuple[File, ...] = (File(),)
    flags: str = 'a file of its flags, JSON, key=value,..., or "--key value ..."'  # help
    complete: bool = False  # no flags at all are those of the release
    releases: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)  # their flags, by name
    packaged: Callable[[], FilePath] | None = None  # where the weights are if no file is named, or a `ConfigError`
    measures: bool = False  # images, for which it is not trained here, so nothing is asked about data and training
    classes: str = ""  # the flag that says how many classes there are
    unpublished: str = ""  # what to say where no data are named, if those of the release cannot be had
    vocabulary: str = ""  # help, if it reads captions, and
    tokenizer: Callable[[Any, FilePath | None], Tokenizer] | None = None  # (flags, file of the vocabulary)
    unread: str = ""  # names in files that are no weights, as a regular expression
    averages: Callable[[dict[str, np.ndarray]], tuple[Arrays, Arrays]] = no_averages  # a file's weights and averages
    unused: str = ""  # weights that may have no counterpart, likewise
    # (flags, a file's weights) -> these by the names that `sources` speaks of, whoever has saved them; a `WeightsError`
    # if they are known to be of something else
    renamed: Callable[[Any, Arrays], Arrays] = as_they_are


def configuration(family: Family, flags: Any, request: Request) -> Config:
    """The configuration of a workdir: the original's model, process and training.

    Raises:
      ConfigError: the flags ask for something that is not here, or nothing says which images.
    """
    require(request.batch >= 0, f"--batch is {request.batch}; it must be at least 1.")
    require_choice("--dtype", request.dtype, DTYPES)
    data = named_data(request.data, family.spec(flags, "").shape[0]) if request.data else None
    data = data or family.data(flags, request.release)
    config = family.settings(flags, data, request.batch)
    config.data.update(data)
    config.dtype = request.dtype
    return parse(config)


def load(
    family: Family, flags: Any, weights: Mapping[str, Arrays], leaf: Callable[[np.ndarray], Any] = float32
) -> tuple[Any, dict[str, Any]]:
    """The original's weights, by the flags that name their files, as our module and its variables.

    For what is raised see `glowdiff.importers`; `leaf` says what to keep of each array.
    """
    config, spec = configuration(family, flags, Request(data=_ANY)), family.spec(flags, _ANY)
    model = config.model
    if config.method == "glow":  # whoever applies it by hand compiles more than once: loops are quick to compile
        model = dataclasses.replace(model, unroll=1)
    module = _MODULES[config.method](model, spec, config.dtype, platform=_PLATFORM)
    return module, _variables(family, flags, weights, _shapes(config, spec), leaf)


def import_release(
    family: Family,
    files: Mapping[str, FilePath],
    values: Mapping[str, Any],
    workdir: epath.PathLike,
    request: Request,
) -> bool:
    """Write a workdir: `config.json`, a checkpoint of step 0, and the tokenizer of what reads captions.

    Where a file holds no averages, the weights serve as such: releases are averages. Whatever it stores, they are kept
    in float32; the optimiser's state is new.

    Args:
      family: the system.
      files: of weights, by the flags that name them; see `glowdiff.importers.weights_files.read`.
      values: the original's flags.
      workdir: a folder that is empty or not there.
      request: what is asked for beside.

    Returns:
      Whether its data set is on this machine. If not, the workdir samples and scores given images; to train on, prepare
      the data set and import again, or start from it (`train.init_from`).

    Raises:
      ConfigError, WeightsError: in the user's words.
    """
    check_new(workdir)
    flags = family.parse(values)
    config = configuration(family, flags, request)
    spec, ready = family.spec(flags, config.data.name), False
    if request.data or not family.unpublished:
        conditional = getattr(config.model, "class_conditional", True)
        spec, ready = facts(spec, config.data, family.classes if conditional else "")
    config.model.check_data(spec, config.data)
    tokenizer = family.tokenizer(flags, request.vocabulary) if family.tokenizer else None
    weights, averaged = {}, {}
    for flag, *_ in family.files:
        weights[flag], averages = family.averages(weights_files.read(files[flag], f"--{flag}", family.unread))
        if strangers := sorted({*averages} - {*weights[flag]}):
            raise WeightsError(f"Averages of variables that are not there: {', '.join(strangers[:8])}.")
        if averages:
            averaged[flag] = {**weights[flag], **averages}
    shapes = _shapes(config, spec)
    variables = _variables(family, flags, weights, shapes)
    ema = _variables(family, flags, weights | averaged, shapes)["params"] if averaged else None
    if config.method == "features":  # a part of other models, which no optimiser ever sees
        method = METHODS[config.method].build(config.model, spec, config.dtype, platform=_PLATFORM)
        keep(Trained(method, variables, config, spec, make_mesh(config.mesh), 0, tokenizer), workdir)
        return ready
    write(workdir, config, spec, variables, ema)
    if tokenizer is not None:
        tokenizer.save(workdir)
    return ready


def part(family: Family, file: FilePath, values: Mapping[str, Any], key: str) -> Trained:
    """A feature network on all devices, without a workdir; captions it cannot read.

    Args:
      family: the system.
      file: of its weights.
      values: the original's flags.
      key: the flag that names the file, for messages.

    Raises:
      ConfigError, WeightsError: in the user's words.
    """
    flags = family.parse(values)
    config = configuration(family, flags, Request())
    spec = family.spec(flags, config.data.name)
    weights = {family.files[0].flag: weights_files.read(file, key, family.unread)}
    variables, mesh = _variables(family, flags, weights, _shapes(config, spec)), make_mesh(config.mesh)
    method = METHODS[config.method].build(config.model, spec, config.dtype, platform=_PLATFORM)
    return Trained(method, jax.device_put(variables, replicated(mesh)), config, spec, mesh, 0)


def _shapes(config: Config, spec: DataSpec) -> dict[str, Any]:
    """Shapes and dtypes of the variables that a configuration builds."""
    method = METHODS[config.method].build(config.model, spec, config.dtype, platform=_PLATFORM)
    batch = batch_shapes(spec, config.model.init_images, method.takes)
    return dict(jax.eval_shape(method.init, jax.random.key(0), batch))


def _variables(
    family: Family,
    flags: Any,
    weights: Mapping[str, Arrays],
    shapes: dict[str, Any],
    leaf: Callable[[np.ndarray], Any] = float32,
) -> dict[str, Any]:
    """Our variables, of the weights in each file."""
    expected, arrays = leaves(shapes), {}
    sources = family.sources(flags, list(expected))
    for file in family.files:
        try:
            arrays |= convert(
                family.renamed(flags, weights[file.flag]), sources[file.flag], expected, leaf, family.unused
            )
        except WeightsError as error:
            raise WeightsError(f"{file.title}: {error}" if file.title else str(error)) from error
    return jax.tree.unflatten(jax.tree.structure(shapes), [arrays[path] for path in expected])
