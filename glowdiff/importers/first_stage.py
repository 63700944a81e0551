"""An autoencoder alone to a workdir: a first stage of latent diffusion, or the `vae` of a folder of diffusers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from glowdiff.autoencoders.build import build_autoencoder
from glowdiff.catalog.parse import defaults, parse
from glowdiff.config.sections import Config, MeshConfig
from glowdiff.data import dataset as datasets
from glowdiff.errors import ConfigError, require
from glowdiff.files import read_json
from glowdiff.importers.autoencoder import FirstStage, variables
from glowdiff.importers.sd_files import weights_of
from glowdiff.importers.stored import Stored, opened
from glowdiff.importers.workdir import check_new, facts, named_data
from glowdiff.method import Method, Variables, batch_shapes
from glowdiff.sharding import Platform, make_mesh
from glowdiff.spec import DataSpec
from glowdiff.trained import Trained, keep

MEASURED = "measured"  # the scale of latents, instead of a number
SIDE = 256  # of the images that the published ones were trained on
_FIRST = 64  # images of which a scale is measured
_PLATFORM = Platform("cpu")  # the workdir holds no program


class Asked(NamedTuple):
    """What is asked of a workdir beside the weights."""

    scale: str | None = None  # of latents: a number, or `MEASURED`; None: as the weights' folder says, or 1 of codes
    size: int | None = None  # pixels of a side of the images
    data: str | None = None  # a data set's name, an .npz file or a folder
    dtype: str = "float32"


def import_checkpoint(path: Path, workdir: epath.PathLike, asked: Asked) -> FirstStage:
    """Write a workdir of method `autoencoder`, for `model.codec` and for fine-tunes.

    Args:
      path: of a single file, whatever else it holds, or of a folder of diffusers: that of the autoencoder, or the one
        above it.
      workdir: a folder that is empty or not there.
      asked: what is asked for beside.

    Returns:
      What it is.

    Raises:
      ConfigError, WeightsError: in the user's words.
    """
    check_new(workdir)
    weights, told = _opened(path.expanduser())
    stage, params = variables(weights)
    config, spec = _configured(stage, asked, _scale(asked, told, stage))
    method = build_autoencoder(config.model, spec, config.dtype, platform=_PLATFORM)
    shapes = dict(jax.eval_shape(method.init, jax.random.key(0), batch_shapes(spec, 1)))
    rest = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), {**shapes, "params": {}})
    whole: Variables = {**rest, "params": {"autoencoder": params}}
    if asked.scale == MEASURED:
        config, _ = _configured(stage, asked, _measured(method, whole, config))
        method = build_autoencoder(config.model, spec, config.dtype, platform=_PLATFORM)
    keep(Trained(method, whole, config, spec, make_mesh(MeshConfig()), 0), workdir)
    return stage


def _opened(path: Path) -> tuple[Stored, float | None]:
    """The weights, and the scale of latents that a folder tells."""
    if not path.is_dir():
        return opened(path), None
    folder = path / "vae" if (path / "vae").is_dir() else path
    file = folder / "config.json"
    told = read_json(epath.Path(file)).get("scaling_factor") if file.is_file() else None
    return weights_of(folder), None if told is None else float(told)


def _scale(asked: Asked, told: float | None, stage: FirstStage) -> float | None:
    """The scale of latents; None: it is to be measured."""
    if asked.scale == MEASURED:
        require(asked.data is not None, f"--scale is {MEASURED}, but no --data says on which images.")
        return None
    if asked.scale is not None:
        try:
            scale = float(asked.scale)
        except ValueError:
            raise ConfigError(f"--scale is {asked.scale!r}; it must be a positive number, or {MEASURED}.") from None
        require(scale > 0, f"--scale is {asked.scale}; it must be positive.")
        return scale
    if told is None and stage.bottleneck.codebook_size:
        return 1.0  # of all published ones
    require(
        told is not None,
        "nothing says by what the latents are multiplied: give --scale=0.18215, that of Stable Diffusion 1 and 2, the "
        f"one that your diffusion model was trained with, or --scale={MEASURED} with --data=NAME.",
    )
    return told


def _configured(stage: FirstStage, asked: Asked, scale: float | None) -> tuple[Config, DataSpec]:
    config, side = defaults("autoencoder", bottleneck=stage.bottleneck.name), asked.size or SIDE
    for section, part in ((config.model.network, stage.network), (config.model.bottleneck, stage.bottleneck)):
        section.update({name: value for name, value in vars(part).items() if name != "name"})
    config.model.scale, config.dtype = scale, asked.dtype
    unknown: dict[str, Any] = {"name": "folder", "path": "images", "size": side}
    config.data.update(named_data(asked.data, side) if asked.data else unknown)
    parsed = parse(config)
    spec = DataSpec(parsed.data.name, (side, side, stage.image_channels), 256, 0, 0)
    if asked.data:
        spec, _ = facts(spec, parsed.data, "")
    parsed.model.check_data(spec, parsed.data)
    return parsed, spec


def _measured(method: Method, variables: Variables, config: Config) -> float:
    """One over the deviation of the latents of the first training images (Rombach et al., 2022, appendix G)."""
    train = datasets.load(config.data).train
    images = np.stack([train[row]["image"] for row in range(min(_FIRST, len(train)))])
    assert method.codec is not None
    encode = jax.jit(method.codec.encode)
    latents = [np.asarray(encode(variables, jax.random.key(row), images[row : row + 1])) for row in range(len(images))]
    return float(1 / np.std(latents))
