"""A workdir of GLIDE's published noise-aware CLIP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etils import epath

from glowdiff.catalog.parse import defaults, parse
from glowdiff.catalog.recipes import clip_training
from glowdiff.config.sections import Config
from glowdiff.errors import require, require_choice
from glowdiff.importers import weights_files
from glowdiff.importers.adm_config import DTYPES
from glowdiff.importers.clip import Flags, clip, parse_flags
from glowdiff.importers.workdir import check_new, facts, named_data, write
from glowdiff.spec import DataSpec
from glowdiff.text import tokenizer as tokenizers


def import_clip(
    text_weights: Path,
    image_weights: Path,
    values: Mapping[str, Any],
    workdir: epath.PathLike,
    *,
    vocab: Path | None = None,
    data: str | None = None,
    batch: int = 0,
    dtype: str = "float32",
) -> bool:
    """Write a workdir: `config.json`, CLIP's tokenizer and a checkpoint of step 0.

    Args:
      text_weights: of `clip/text-enc`,
      image_weights: and of `clip/image-enc`, see `glowdiff.importers.weights_files.read`.
      values: arguments of the original's constructor, see `glowdiff.importers.clip.Flags`.
      workdir: a folder that is empty or not there.
      vocab: CLIP's vocabulary, see `glowdiff.text.tokenizer.clip`.
      data: a data set with captions to train on; None: none, the workdir only guides.
      batch: images per step if training goes on; 0: 2,048.
      dtype: of the networks' arithmetic.

    Returns:
      Whether a data set was named that is on this machine.

    Raises:
      ConfigError, WeightsError: in the user's words.
    """
    check_new(workdir)
    flags = parse_flags(values)
    config = configuration(flags, data, batch=batch, dtype=dtype)
    spec = DataSpec(config.data.name, (flags.image_size, flags.image_size, 3), 256, 0, 0, captions=True)
    ready = False
    if data is not None:
        spec, ready = facts(spec, config.data, None)
    config.model.check_data(spec, config.data)
    tokenizer = tokenizers.clip(vocab)
    require(
        tokenizer.size <= flags.n_vocab,
        f"--flags has n_vocab={flags.n_vocab}, but the vocabulary has {tokenizer.size} entries.",
    )
    text = weights_files.read(text_weights, "--text_weights")
    image = weights_files.read(image_weights, "--image_weights")
    _, variables = clip(text, image, values)
    write(workdir, config, spec, variables)
    tokenizer.save(workdir)
    return ready


def configuration(flags: Flags, data: str | None = None, *, batch: int = 0, dtype: str = "float32") -> Config:
    """The configuration of a workdir: the original's network and process, and CLIP's training.

    Args:
      flags: of the original.
      data: what `--data` names; None: OpenMoji stands in for the original's pictures, which are not public.
      batch: images per step; 0: 2,048.
      dtype: of the networks' arithmetic.

    Raises:
      ConfigError: the flags ask for something that is not here.
    """
    require(batch >= 0, f"--batch is {batch}; it must be at least 1.")
    require_choice("--dtype", dtype, DTYPES)
    config = defaults("clip")
    clip_training(config, batch=batch or 2_048)
    config.dtype = dtype
    network = {key: value for key, value in flags.network().items() if key != "image_size"}
    config.model.update(**network, schedule="cosine", tokenizer="clip")
    config.data.update(named_data(data or "openmoji", flags.image_size))
    return parse(config)
