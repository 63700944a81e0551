"""A workdir of a published ADM or Improved DDPM model, or of one of their classifiers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etils import epath

from glowdiff.importers import adm_flags, weights_files
from glowdiff.importers.adm import adm
from glowdiff.importers.adm_config import assumed_spec, configuration
from glowdiff.importers.workdir import check_new, facts, write


def import_adm(
    weights: Path,
    values: Mapping[str, Any],
    workdir: epath.PathLike,
    *,
    preset: str | None = None,
    data: str | None = None,
    batch: int = 0,
    dtype: str = "float32",
) -> bool:
    """Write a workdir of a denoiser, an upsampler or a classifier: `config.json` and a checkpoint of step 0.

    The releases are averages of weights; they serve as weights and as averages. Whatever the file stores, they are kept
    in float32.

    Args:
      weights: see `glowdiff.importers.weights_files.read`.
      values: flags of the original, see `glowdiff.importers.adm_flags`.
      workdir: a folder that is empty or not there.
      preset: the name of the release whose flags these are.
      data: a data set's name, an .npz file or a folder of images; None: see `adm_config.configuration`.
      batch: images per step if training goes on; 0: 256.
      dtype: of the networks' arithmetic.

    Returns:
      Whether the data set is on this machine. If not, the workdir samples and scores given images; to train on,
      prepare the data set and import again.

    Raises:
      ConfigError, WeightsError: in the user's words.
    """
    check_new(workdir)
    flags = adm_flags.parse(values)
    config = configuration(flags, data, preset=preset, batch=batch, dtype=dtype)
    assumed = assumed_spec(flags, config.data.name)
    spec, ready = facts(assumed, config.data, "num_classes" if assumed.classes else None)
    config.model.check_data(spec, config.data)
    _, variables = adm(weights_files.read(weights), values)
    write(workdir, config, spec, variables)
    return ready
