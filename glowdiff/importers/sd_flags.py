"""What more people know of a checkpoint of latent diffusion: the YAML file of its training, or some flags of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glowdiff.errors import ConfigError, did_you_mean, require
from glowdiff.files import TEXT_LIMIT, check_ordinary
from glowdiff.importers import flags as originals
from glowdiff.importers.clip_text import FLAGS as TEXT
from glowdiff.importers.latent_unet import FLAGS as UNET

_PROCESS = ("linear_start", "linear_end", "scale_factor", "parameterization")
_YAML = (".yaml", ".yml")


def read(text: str) -> dict[str, dict[str, Any]]:
    """The flags of `--flags`: a YAML file of the original's, JSON, a file of it, or key=value,...; see `sections`.

    Raises:
      ConfigError: it cannot be read, or there is a flag that the originals do not have.
    """
    path = Path(text).expanduser()
    if path.suffix not in _YAML:
        return sections(originals.read(text, {}))
    import yaml  # comes with ml_collections

    require(path.is_file(), f"--flags is {path}, where there is no file.")
    check_ordinary(path, TEXT_LIMIT)
    try:
        content = yaml.safe_load(path.read_text(errors="replace"))
    except yaml.YAMLError as error:
        raise ConfigError(f"--flags is {path}, which is no YAML ({str(error).splitlines()[0]}).") from error
    return sections(content)


def sections(flags: Any) -> dict[str, dict[str, Any]]:
    """Flags by what they are of: `unet`, `text` (the text encoder), `process`.

    Args:
      flags: those of all by name; or as the original's YAML files have them, `model.params` with `unet_config` within;
        or `ldm_params`, `unet_config` and `text_config`. What else there is there, of losses and data, does not matter.

    Raises:
      ConfigError: there is a flag that the originals do not have.
    """
    require(isinstance(flags, Mapping), f"--flags holds a {type(flags).__name__}; it must hold names and values.")
    params = flags.get("model", flags)
    params = params.get("params", params) if isinstance(params, Mapping) else flags
    if "unet_config" in params or "ldm_params" in params:
        process, unet = {**params, **params.get("ldm_params", {})}, _params(params.get("unet_config", {}))
        if "ldm_params" not in params:  # of the YAML files, in which it says nothing of the latents
            unet.pop("image_size", None)
        return {
            "unet": unet, "text": _params(params.get("text_config", {})),
            "process": {name: process[name] for name in _PROCESS if name in process},
        }  # fmt: skip
    found: dict[str, dict[str, Any]] = {"unet": {}, "text": {}, "process": {}}
    for name, value in flags.items():
        places = [place for place, names in (("unet", UNET), ("text", TEXT), ("process", _PROCESS)) if name in names]
        require(
            bool(places),
            f"--flags has {name}, which the originals do not know. {did_you_mean(name, [*UNET, *TEXT, *_PROCESS])}",
        )
        found[places[0]][name] = value
    return found


def _params(section: Any) -> dict[str, Any]:
    """Arguments of a constructor, whether or not its name stands beside them."""
    return dict(section.get("params", section))
