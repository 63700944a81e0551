"""A workdir of a published Glow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etils import epath

from glowdiff.catalog.parse import defaults
from glowdiff.catalog.parse import parse as parse_config
from glowdiff.catalog.recipes import EPOCH, glow_training
from glowdiff.config.sections import Config
from glowdiff.errors import ConfigError, require
from glowdiff.importers import archive, flags
from glowdiff.importers.glow import glow
from glowdiff.importers.mapping import WeightsError
from glowdiff.importers.workdir import check_new, facts, named_data, write


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
    check_new(workdir)
    parsed = flags.parse(values)
    read = archive.read(weights)
    _, variables = glow(read.weights, values)
    ema = None
    if read.averages:
        if strangers := sorted(set(read.averages) - set(read.weights)):
            raise WeightsError(f"Averages of variables that are not there: {', '.join(strangers[:8])}.")
        ema = glow(read.weights | read.averages, values)[1]["params"]
    config = configuration(parsed, data, batch or parsed.batch())
    spec, ready = facts(parsed.spec(config.data.name), config.data, "n_y" if parsed.ycond else None)
    write(workdir, config, spec, variables, ema)
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
    config.data.update(named_data(data, parsed.image_size) if data else _guess(parsed))
    return parse_config(config)


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
