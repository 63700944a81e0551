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
from glowdiff.importers.mapping import Arrays, Path, Source, WeightsError, convert, float32, leaves, nested
from glowdiff.importers.workdir import check_new, facts, named_data, write
from glowdiff.method import batch_shapes
from glowdiff.sharding import Platform
from glowdiff.spec import DataSpec
from glowdiff.text.tokenizer import Tokenizer

DTYPES = ("float32", "bfloat16")
NAME_DATA = "name them: --data=cifar10 (any name of a data set), --data=FILE.npz or --data=FOLDER."
_ANY = "unknown"  # data of which a module alone knows no more than the flags say
_PLATFORM = Platform("cpu")  # modules for use by hand run everywhere
_MODULES: dict[str, Callable[..., Any]] = {
    "diffusion": denoising_module, "classifier": classifying_module, "clip": clip_module, "glow": glow_module,
}  # fmt: skip


class File(NamedTuple):
    """One of the files that a system's weights come in."""

    flag: str = "weights"
    help: str = "its state dict: a .pt, .safetensors or .npz file, or the .json index of safetensors in shards"
    title: str = ""  # in front of what is wrong with it


def no_averages(arrays: dict[str, np.ndarray]) -> tuple[Arrays, Arrays]:
    """All that a file holds are weights."""
    return arrays, {}


@dataclasses.dataclass(frozen=True)
class Family:
    """A published system; whatever its own vocabulary makes of flags is called `flags` here."""

    name: str  # of the command
    help: str
    parse: Callable[[Mapping[str, Any]], Any]  # a dictionary of flags -> flags, checked
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
    classes: str = ""  # the flag that says how many classes there are
    unpublished: str = ""  # what to say where no data are named, if those of the release cannot be had
    vocabulary: str = ""  # help, if it reads captions, and
    tokenizer: Callable[[Any, FilePath | None], Tokenizer] | None = None  # (flags, file of the vocabulary)
    unread: str = ""  # names in files that are no weights, as a regular expression
    averages: Callable[[dict[str, np.ndarray]], tuple[Arrays, Arrays]] = no_averages  # a file's weights and averages
    unused: str = ""  # weights that may have no counterpart, likewise


def configuration(
    family: Family,
    flags: Any,
    *,
    release: str | None = None,
    data: str | None = None,
    batch: int = 0,
    dtype: str = "float32",
) -> Config:
    """The configuration of a workdir: the original's model, process and training.

    Args:
      family: the system.
      flags: see `Family.parse`.
      release: the release's name, if it is one.
      data: what `--data` names; None: what it was trained on, or stands in for it.
      batch: images per step if training goes on; 0: as published.
      dtype: of the networks' arithmetic; the originals' is float32, or float16.

    Raises:
      ConfigError: the flags ask for something that is not here, or nothing says which images.
    """
    require(batch >= 0, f"--batch is {batch}; it must be at least 1.")
    require_choice("--dtype", dtype, DTYPES)
    section = named_data(data, family.spec(flags, data).shape[0]) if data else family.data(flags, release)
    config = family.settings(flags, section, batch)
    config.data.update(section)
    config.dtype = dtype
    return parse(config)


def load(
    family: Family, flags: Any, weights: Mapping[str, Arrays], leaf: Callable[[np.ndarray], Any] = float32
) -> tuple[Any, dict[str, Any]]:
    """The original's weights as our module, in float32, and its variables.

    Args:
      family: the system.
      flags: see `Family.parse`.
      weights: of each of its files, by the flags that name them.
      leaf: what to keep of each array.

    Raises:
      ConfigError: the flags cannot be.
      WeightsError: a weight is missing, not expected, or of another shape than the flags ask for.
    """
    config, spec = configuration(family, flags, data=_ANY), family.spec(flags, _ANY)
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
    *,
    release: str | None = None,
    vocabulary: FilePath | None = None,
    data: str | None = None,
    batch: int = 0,
    dtype: str = "float32",
) -> bool:
    """Write a workdir: `config.json`, a checkpoint of step 0, and the tokenizer of what reads captions.

    Where a file holds no averages, the weights serve as such: releases are averages. Whatever it stores, they are kept
    in float32; the optimiser's state is new.

    Args:
      family: the system.
      files: of weights, by the flags that name them; see `glowdiff.importers.weights_files.read`.
      values: the original's flags.
      workdir: a folder that is empty or not there.
      release: see `configuration`, as are data, batch and dtype.
      vocabulary: a file of the original's vocabulary; None: the package that has it fetches it.
      data: a data set's name, an .npz file or a folder of images.
      batch: images per step if training goes on.
      dtype: of the networks' arithmetic.

    Returns:
      Whether its data set is on this machine. If not, the workdir samples and scores given images; to train on, prepare
      the data set and import again, or start from it (`train.init_from`).

    Raises:
      ConfigError, WeightsError: in the user's words.
    """
    check_new(workdir)
    flags = family.parse(values)
    config = configuration(family, flags, release=release, data=data, batch=batch, dtype=dtype)
    spec, ready = family.spec(flags, config.data.name), False
    if data or not family.unpublished:
        conditional = getattr(config.model, "class_conditional", True)
        spec, ready = facts(spec, config.data, family.classes if conditional else "")
    config.model.check_data(spec, config.data)
    tokenizer = family.tokenizer(flags, vocabulary) if family.tokenizer else None
    contents = {
        file.flag: family.averages(weights_files.read(files[file.flag], f"--{file.flag}", family.unread))
        for file in family.files
    }
    shapes = _shapes(config, spec)
    variables = _variables(family, flags, {flag: weights for flag, (weights, _) in contents.items()}, shapes)
    ema = None
    if any(averages for _, averages in contents.values()):
        averaged = {flag: {**weights, **averages} for flag, (weights, averages) in contents.items()}
        strangers = sorted(key for flag, (weights, _) in contents.items() for key in {*averaged[flag]} - {*weights})
        if strangers:
            raise WeightsError(f"Averages of variables that are not there: {', '.join(strangers[:8])}.")
        ema = _variables(family, flags, averaged, shapes)["params"]
    write(workdir, config, spec, variables, ema)
    if tokenizer is not None:
        tokenizer.save(workdir)
    return ready


def _shapes(config: Config, spec: DataSpec) -> dict[Path, Any]:
    """Shapes and dtypes of the variables that a configuration builds."""
    method = METHODS[config.method].build(config.model, spec, config.dtype, platform=_PLATFORM)
    batch = batch_shapes(spec, config.model.init_images, method.takes)
    return leaves(dict(jax.eval_shape(method.init, jax.random.key(0), batch)))


def _variables(
    family: Family,
    flags: Any,
    weights: Mapping[str, Arrays],
    shapes: Mapping[Path, Any],
    leaf: Callable[[np.ndarray], Any] = float32,
) -> dict[str, Any]:
    """Our variables, of the weights in each file."""
    sources = family.sources(flags, list(shapes))
    assert {path for each in sources.values() for path in each} == {*shapes}, "every array has a source"
    arrays: dict[Path, Any] = {}
    for file in family.files:
        try:
            arrays |= convert(weights[file.flag], sources[file.flag], shapes, leaf, family.unused)
        except WeightsError as error:
            raise WeightsError(f"{file.title}: {error}" if file.title else str(error)) from error
    return nested(arrays)
