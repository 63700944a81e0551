"""An ordinary workdir of imported weights: `glowdiff.load`, sample.py, evaluate.py and training go on from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from etils import epath

from glowdiff import workdir as workdirs
from glowdiff.config.parse import defaults
from glowdiff.config.parse import parse as parse_config
from glowdiff.config.recipes import EPOCH, glow_training
from glowdiff.config.schema import Config, ConfigError, DataConfig, require
from glowdiff.data import dataset as datasets
from glowdiff.data.spec import DataSpec
from glowdiff.importers import archive, flags
from glowdiff.importers.glow import glow
from glowdiff.importers.mapping import WeightsError
from glowdiff.training.checkpoint import Checkpoints
from glowdiff.training.optimizer import make_optimizer
from glowdiff.training.state import fresh_state


def import_glow(
    weights: Path, values: Mapping[str, Any], workdir: epath.PathLike, *, data: str | None = None, batch: int = 0
) -> bool:
    """Write a workdir of a published Glow: `config.json` and a checkpoint of step 0.

    The averages of the weights are the original's where the file has them, else the weights themselves; the
    optimiser's state is new.

    Args:
      weights: see `glowdiff.importers.archive.read`.
      values: flags of the original, see `glowdiff.importers.flags.parse`.
      workdir: a folder that is empty or not there.
      data: a data set's name, an .npz file or a folder of images; None: what the flags' `problem` stands for.
      batch: images per step if training goes on; 0: the original's per device.

    Returns:
      Whether the data set is on this machine. If not, the workdir samples and scores given images; to train on,
      prepare the data set and import again.

    Raises:
      ConfigError, WeightsError: in the user's words.
    """
    folder = epath.Path(workdir)
    require(
        not folder.exists() or (folder.is_dir() and not any(folder.iterdir())),
        f"--workdir is {workdir}, which is not empty; give a new one.",
    )
    parsed = flags.parse(values)
    read = archive.read(weights)
    _, variables = glow(read.weights, values)
    ema = None
    if read.averages:
        if strangers := sorted(set(read.averages) - set(read.weights)):
            raise WeightsError(f"Averages of variables that are not there: {', '.join(strangers[:8])}.")
        ema = glow(read.weights | read.averages, values)[1]["params"]
    config = configuration(parsed, data, batch or parsed.batch())
    spec, ready = _spec(parsed, config.data)
    config.model.check_data(spec, config.data)
    state = fresh_state(make_optimizer(config), jax.random.key(config.seed), variables, ema)
    workdirs.write(workdir, config, spec)
    with Checkpoints(workdir) as checkpoints:
        checkpoints.save(0, state._asdict(), {"position": {"next_image": 0}}, {})
    return ready


def configuration(parsed: flags.Flags, data: str | None, batch: int) -> Config:
    """The configuration of a workdir: the original's model and training, in its arithmetic (float32).

    Raises:
      ConfigError: neither the flags nor `data` say which images.
    """
    require(1 <= batch <= EPOCH, f"--batch is {batch}; it must be from 1 to {EPOCH:,}.")
    config = defaults("glow")
    glow_training(config, batch)
    config.dtype = "float32"
    config.model.update(dataclasses.asdict(parsed.model()))
    config.data.update(_of(data, parsed.image_size) if data else _guess(parsed))
    return parse_config(config)


def _of(data: str, size: int) -> dict[str, Any]:
    """The `data` section of what `--data` names."""
    if data.endswith(".npz"):
        return {"name": "arrays", "path": data}
    if Path(data).expanduser().is_dir():
        return {"name": "folder", "path": data, "size": size}
    resized = data in ("photos", "openmoji", "celeb_a") or data.startswith("lsun")  # the others have sizes of their own
    return {"name": data, "size": size} if resized else {"name": data}


def _guess(parsed: flags.Flags) -> dict[str, Any]:
    """The `data` section of the original's `problem`."""
    size = parsed.image_size
    if parsed.problem == "cifar10":
        return {"name": "cifar10", "flip": True}
    if parsed.problem == "imagenet-oord" and size in (32, 64):
        return {"name": f"downsampled_imagenet/{size}x{size}", "test_split": "validation"}
    if parsed.problem == "imagenet" and size in (32, 64):
        return {"name": f"imagenet_resized/{size}x{size}", "test_split": "validation"}
    if parsed.problem == "celeba":
        splits = {"train_split": "train[:27000]", "test_split": "train[27000:]"}
        return {"name": f"celeb_a_hq/{size}", "flip": True, **splits}
    if parsed.problem in ("lsun_realnvp", "lsun"):
        return {"name": f"lsun/{parsed.category or 'bedroom'}", "size": size, "test_split": "validation", "flip": True}
    said = f"problem={parsed.problem} of {size} pixels" if parsed.problem else "no problem"
    raise ConfigError(
        f"--flags has {said}, which does not tell which data set of ours has such images; name it: --data=cifar10 (any "
        "name of a data set), --data=FILE.npz or --data=FOLDER."
    )


def _spec(parsed: flags.Flags, data: DataConfig) -> tuple[DataSpec, bool]:
    """The facts about the data, and whether they could be read; if not, what the flags say of them."""
    assumed = parsed.spec(data.name)
    if not datasets.is_ready(data):
        return assumed, False
    spec = datasets.load(data).spec
    require(
        (spec.shape, spec.levels) == (assumed.shape, assumed.levels),
        f"the images of {data.name} are {_described(spec)}; the flags ask for {_described(assumed)}. Name other images "
        "with --data.",
    )
    require(
        not parsed.ycond or len(spec.classes) == parsed.n_y,
        f"{data.name} has {len(spec.classes)} classes; the flags ask for n_y={parsed.n_y}. Name other images with "
        "--data.",
    )
    return spec, True


def _described(spec: DataSpec) -> str:
    return f"{'x'.join(map(str, spec.shape))} with {spec.levels} levels"
