"""An ordinary workdir of imported weights: `glowdiff.load`, sample.py, evaluate.py and training go on from it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import jax
from etils import epath

from glowdiff.config.sections import Config, DataConfig
from glowdiff.data import dataset as datasets
from glowdiff.errors import require
from glowdiff.method import Variables
from glowdiff.spec import DataSpec
from glowdiff.training.optimizer import make_optimizer
from glowdiff.training.state import fresh_state
from glowdiff.workdir import description as workdirs
from glowdiff.workdir.checkpoint import Checkpoints

# TFDS's sets, and our own, that have no size of their own, or many.
_RESIZED = ("photos", "openmoji", "celeb_a", "imagenet2012", "lsun")
_SCENES = (
    "bedroom", "bridge", "church_outdoor", "classroom", "conference_room", "dining_room", "kitchen", "living_room",
    "restaurant", "tower",
)  # fmt: skip


def check_new(workdir: epath.PathLike) -> None:
    """Raise `ConfigError` unless the folder is empty or not there."""
    folder = epath.Path(workdir)
    require(
        not folder.exists() or (folder.is_dir() and not any(folder.iterdir())),
        f"--workdir is {workdir}, which is not empty; give a new one.",
    )


def write(workdir: epath.PathLike, config: Config, spec: DataSpec, variables: Variables, ema: Any = None) -> None:
    """Write `config.json` and a checkpoint of step 0, in a workdir as of `check_new`; the optimiser's state is new.

    The variables must be those that the configuration builds; `ema` are averages of the parameters, or these.
    """
    fresh = jax.jit(partial(fresh_state, make_optimizer(config)))  # else a program for every shape
    state = fresh(jax.random.key(config.seed), variables, ema)
    workdirs.write(workdir, config, spec)
    with Checkpoints(workdir) as checkpoints:
        checkpoints.save(0, state._asdict(), {"position": {"next_image": 0}}, {})


def named_data(data: str, size: int) -> dict[str, Any]:
    """The `data` section of what `--data` names: a data set, an .npz file or a folder; `size` is the model's."""
    if data.endswith(".npz"):
        return {"name": "arrays", "path": data}
    if Path(data).expanduser().is_dir():
        return {"name": "folder", "path": data, "size": size}
    name, _, category = data.partition("/")
    splits = {}
    if name == "imagenet2012" or (name == "lsun" and category in _SCENES):
        splits = {"test_split": "validation"}
    elif name == "lsun":  # of objects there are training images only
        splits = {"train_split": "train[1%:]", "test_split": "train[:1%]"}
    return {"name": data, **({"size": size} if name in _RESIZED else {}), **splits}


def facts(assumed: DataSpec, data: DataConfig, classes: str) -> tuple[DataSpec, bool]:
    """The facts about the data, and whether they could be read; if not, they are `assumed`, what the flags say of them.

    Raises:
      ConfigError: the data on this machine are not what the flags ask for, in shape or in number of `classes`, the flag
        that says it; empty: the model knows none.
    """
    if not datasets.is_ready(data):
        return assumed, False
    spec = datasets.load(data).spec
    require(
        (spec.shape, spec.levels) == (assumed.shape, assumed.levels),
        f"the images of {data.name} are {_described(spec)}; the flags ask for {_described(assumed)}. Name other images "
        "with --data.",
    )
    require(
        not classes or len(spec.classes) == len(assumed.classes),
        f"{data.name} has {len(spec.classes)} classes; the flags ask for {classes}={len(assumed.classes)}. Name other "
        "images with --data.",
    )
    return spec, True


def _described(spec: DataSpec) -> str:
    return f"{'x'.join(map(str, spec.shape))} with {spec.levels} levels"
