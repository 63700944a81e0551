"""A workdir describes itself: its `config.json` holds the configuration and the facts about the data."""

from __future__ import annotations

import json
from typing import NamedTuple

from etils import epath

from glowdiff.catalog.parse import differences, parse, to_json
from glowdiff.config.sections import Config
from glowdiff.errors import ConfigError, require
from glowdiff.files import read_json, write_whole
from glowdiff.spec import DataSpec, spec_from_json, spec_to_json

FILE = "config.json"  # in a workdir
FORMAT = 2  # of that file; 1: before 0.1.0

# What may change between two runs of a workdir: none of it alters, but for rounding, a step that both would take.
FREE = (
    "train.steps", "train.log_every", "train.checkpoint_every", "mesh.", "eval.", "pictures.", "sampling.",
    "model.memory", "model.unroll", "model.network.remat", "data.latents",
)  # fmt: skip


class Description(NamedTuple):
    """What `config.json` says."""

    config: Config
    spec: DataSpec


def read(workdir: epath.PathLike) -> Description:
    """The description of a workdir.

    Raises:
      ConfigError: there is none, or it cannot be read.
    """
    path = epath.Path(workdir) / FILE
    if not path.exists():
        raise ConfigError(f"{workdir} is not a workdir of glowdiff: it holds no {FILE}. Did train.py write it?")
    content = read_json(path)
    try:
        version = content.get("format", 1)
        require(
            version == FORMAT,
            f"{path} was written by another version of glowdiff (format {version}, here {FORMAT}), whose "
            "configurations have other keys. Train or import it again with this version, or use that one.",
        )
        config, data = content["config"], content["data"]
    except (AttributeError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is damaged: it does not hold a configuration and facts about data.") from error
    try:
        return Description(parse(config), spec_from_json(data))
    except (ValueError, AttributeError, KeyError, TypeError, OverflowError, RecursionError) as error:
        what = str(error) if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"
        raise ConfigError(f"{path} is damaged: {what}") from error


def write(workdir: epath.PathLike, config: Config, spec: DataSpec) -> None:
    """Describe a workdir, in one piece: a reader sees the old description or the new one."""
    text = json.dumps({"format": FORMAT, "config": to_json(config), "data": spec_to_json(spec)}, indent=2)
    write_whole(epath.Path(workdir) / FILE, text + "\n")


def check_rerun(workdir: epath.PathLike, config: Config, spec: DataSpec) -> Config | None:
    """The configuration with which a workdir was trained before; None if it was not.

    Raises:
      ConfigError: it belongs to another configuration or other data; what differs is named.
    """
    if not (epath.Path(workdir) / FILE).exists():
        return None
    old = read(workdir)
    changed = {
        key: values for key, values in sorted(differences(old.config, config).items()) if not key.startswith(FREE)
    }
    decay = old.config.optimizer.decay_steps or old.config.train.steps
    if config.optimizer.decay_steps == decay:  # said in other words
        changed.pop("optimizer.decay_steps", None)
    if old.spec != spec and not changed:
        changed["data"] = (_describe(old.spec), _describe(spec))
    if changed:
        listed = "; ".join(f"{key} was {before!r}, now {after!r}" for key, (before, after) in changed.items())
        raise ConfigError(
            f"{workdir} holds a run with another configuration: {listed}. Use another --workdir, or the old values "
            "(only train.steps, the mesh, memory and unroll, logging and evaluation may change)."
        )
    return old.config


def _describe(spec: DataSpec) -> str:
    size = "x".join(map(str, spec.shape))
    return f"{spec.name} {size}, {spec.levels} levels, {spec.train_size} + {spec.test_size} images"
