"""From the flags of GLIDE to a whole configuration of ours."""

from __future__ import annotations

from typing import Any

from glowdiff.catalog.parse import defaults, parse
from glowdiff.catalog.recipes import glide_training
from glowdiff.config.sections import Config
from glowdiff.data.sets.stock import OWN
from glowdiff.errors import require, require_choice
from glowdiff.importers.adm_config import DTYPES, denoiser, noised
from glowdiff.importers.network_flags import Flags
from glowdiff.importers.workdir import named_data
from glowdiff.spec import DataSpec

# The published models' images never were; whoever trains on names a folder of captioned ones.
_UNKNOWN = "captioned_images"


def configuration(flags: Flags, data: str | None = None, *, batch: int = 0, dtype: str = "float32") -> Config:
    """The configuration of a workdir: the original's model and process, and sampling as in its release.

    Args:
      flags: see `glowdiff.importers.glide_flags`.
      data: what `--data` names; None: a folder that is not there.
      batch: images per step if training goes on; 0: 256.
      dtype: of the networks' arithmetic; the original's is float16, or float32.

    Raises:
      ConfigError: the flags ask for something that is not here.
    """
    require(batch >= 0, f"--batch is {batch}; it must be at least 1.")
    require_choice("--dtype", dtype, DTYPES)
    network, config = flags.network, defaults("diffusion")
    config.model.update(noised(flags) | denoiser(flags) | _text(network) | {"inpaint": network["inpaint"]})
    glide_training(config, steps=500_000, batch=batch or 256)
    config.dtype = dtype
    respacing = flags.process.timestep_respacing
    if respacing:
        config.sampling.update(steps=respacing, sampler="ddim" if respacing.startswith("ddim") else "ancestral")
    side = network["image_size"]
    config.data.update(named_data(data, side) if data else {"name": "folder", "path": _UNKNOWN, "size": side})
    return parse(config)


def assumed_spec(flags: Flags, name: str) -> DataSpec:
    """What the flags say of the data, of which they do not know the number of images; sets of TFDS have no captions."""
    side = flags.network["image_size"]
    return DataSpec(name, (side, side, flags.in_channels), 256, 0, 0, captions=name in OWN)


def _text(network: dict[str, Any]) -> dict[str, Any]:
    names = ("text_context", "text_width", "text_layers", "text_heads")
    return {"text": True, "tokenizer": "gpt2", "vocab_size": network["vocab"]} | {name: network[name] for name in names}
