"""A trained model as it lies in a workdir: the method, its variables, and what belongs to them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
from etils import epath
from jax.sharding import Mesh

from glowdiff.catalog.methods import build_method
from glowdiff.config.sections import Config, MeshConfig
from glowdiff.method import Frozen, Method, Variables, batch_shapes
from glowdiff.sharding import make_mesh, platform_of, state_shardings
from glowdiff.spec import DataSpec
from glowdiff.text import tokenizer as tokenizers
from glowdiff.text.tokenizer import Tokenizer
from glowdiff.workdir import description
from glowdiff.workdir.checkpoint import Checkpoints


class Trained(NamedTuple):
    """A method, its variables, and the facts about its data."""

    method: Method  # the pure functions
    variables: Variables  # what they take
    config: Config  # the run's configuration
    spec: DataSpec  # facts about the data
    mesh: Mesh  # the devices
    step: int  # training steps that the variables have seen
    tokenizer: Tokenizer | None = None  # of captions, if the model reads them


def restore(
    workdir: epath.PathLike, *, step: int | None = None, ema: bool = True, devices: Sequence[Any] | None = None
) -> Trained:
    """What a workdir holds.

    Args:
      workdir: what training or an importer wrote; local or `gs://`.
      step: a checkpoint's; None: the newest intact one.
      ema: the averaged parameters rather than the raw ones.
      devices: to put the variables on; None: all.

    Raises:
      ConfigError: `workdir` is not a workdir.
      CheckpointError: there is no such checkpoint, or it is damaged.
    """
    config, spec = description.read(workdir)
    mesh = make_mesh(MeshConfig(), devices)
    parts = {name: restore(part_folder(workdir, name), devices=devices) for name in config.model.frozen()}
    method = build_method(config, spec, platform_of(mesh), frozen(parts))
    shapes = jax.eval_shape(method.init, jax.random.key(0), batch_shapes(spec, config.model.init_images, method.takes))
    like = {"variables": dict(shapes)} | ({"ema": shapes["params"]} if ema else {})
    if ema:
        del like["variables"]["params"]
    like = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        like,
        state_shardings(like, mesh),
    )
    with Checkpoints(workdir) as checkpoints:
        restored = checkpoints.restore_part(like, step)
    variables = dict(restored.state["variables"])
    if ema:
        variables["params"] = restored.state["ema"]
    if parts:
        variables["frozen"] = {name: part.variables for name, part in parts.items()}
    captions = config.model.captions
    tokenizer = tokenizers.load(workdir, captions.tokenizer) if captions else None
    return Trained(method, variables, config, spec, mesh, restored.step, tokenizer)


def keep(trained: Trained, workdir: epath.PathLike) -> None:
    """Write what `restore` reads, without the state of an optimiser; every process must call it.

    Args:
      trained: the model; its parameters count as averages.
      workdir: a folder that is empty or not there, or one in which this was interrupted.

    Raises:
      CheckpointError: it cannot be written.
    """
    if jax.process_index() == 0:
        description.write(workdir, trained.config, trained.spec)
        if trained.tokenizer is not None:
            trained.tokenizer.save(workdir)
    rest = {name: value for name, value in trained.variables.items() if name not in ("params", "frozen")}
    with Checkpoints(workdir, spare=True) as checkpoints:
        checkpoints.save(trained.step, {"variables": rest, "ema": trained.variables["params"]}, {}, {})


def keep_parts(config: Config, workdir: epath.PathLike) -> None:
    """Copy the frozen models of a configuration, once, into `workdir/parts/NAME`: a workdir stays whole wherever it is.

    Args:
      config: names their workdirs.
      workdir: of the run.

    Raises:
      ConfigError: one of them is not a workdir.
      CheckpointError: one of them cannot be read, or its copy not be written.
    """
    for name, source in config.model.frozen().items():
        if not _holds_model(part_folder(workdir, name)):
            keep(restore_serving(source), part_folder(workdir, name))


def parts_of(config: Config, workdir: epath.PathLike | None) -> dict[str, Trained]:
    """The frozen models of a configuration: the copies of a workdir, or else those that the configuration names."""
    parts = {}
    for name, source in config.model.frozen().items():
        copied = workdir is not None and _holds_model(part_folder(workdir, name))
        parts[name] = restore_serving(part_folder(workdir, name) if copied and workdir else source)
    return parts


def restore_serving(workdir: epath.PathLike) -> Trained:
    """What a workdir holds, without what only its own training needs: other parts, an autoencoder's discriminator.

    Raises:
      ConfigError, CheckpointError: as `restore`.
    """
    trained = restore(workdir)
    model = trained.config.model.serving()
    if model == trained.config.model:
        return trained
    config = dataclasses.replace(trained.config, model=model)
    method = build_method(config, trained.spec, platform_of(trained.mesh))
    shapes = jax.eval_shape(method.init, jax.random.key(0), batch_shapes(trained.spec, model.init_images, method.takes))
    return trained._replace(method=method, variables=_like(trained.variables, shapes), config=config)


def _like(tree: Any, other: Any) -> Any:
    """What of nested dictionaries another one has too."""
    return {key: _like(tree[key], other[key]) for key in other} if isinstance(other, Mapping) else tree


def _holds_model(folder: epath.PathLike) -> bool:
    with Checkpoints(folder) as checkpoints:
        return bool(checkpoints.steps())


def part_folder(workdir: epath.PathLike, name: str) -> epath.Path:
    """Where a workdir keeps a frozen model."""
    return epath.Path(workdir) / "parts" / name


def frozen(parts: Mapping[str, Trained]) -> dict[str, Frozen]:
    """What of frozen models builds the method that they serve."""
    return {name: Frozen(part.method, part.spec) for name, part in parts.items()}
