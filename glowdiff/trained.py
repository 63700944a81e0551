"""A trained model as it lies in a workdir: the method, its variables, and what belongs to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from etils import epath
from jax.sharding import Mesh

from glowdiff.catalog.methods import build_method
from glowdiff.config.sections import Config, MeshConfig
from glowdiff.method import Method, Variables, batch_shapes
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
    method = build_method(config, spec, platform_of(mesh))
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
    captions = config.model.captions
    tokenizer = tokenizers.load(workdir, captions.tokenizer) if captions else None
    return Trained(method, variables, config, spec, mesh, restored.step, tokenizer)
