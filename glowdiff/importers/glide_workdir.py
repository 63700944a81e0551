"""A workdir of one of GLIDE's published denoisers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etils import epath

from glowdiff.errors import require
from glowdiff.importers import glide_flags, weights_files
from glowdiff.importers.glide import glide
from glowdiff.importers.glide_config import assumed_spec, configuration
from glowdiff.importers.workdir import check_new, facts, write
from glowdiff.text import tokenizer as tokenizers


def import_glide(
    weights: Path,
    values: Mapping[str, Any],
    workdir: epath.PathLike,
    *,
    vocab: Path | None = None,
    data: str | None = None,
    batch: int = 0,
    dtype: str = "float32",
) -> bool:
    """Write a workdir of a denoiser that reads captions: `config.json`, `tokenizer.json` and a checkpoint of step 0.

    The releases serve as weights and as averages. Whatever the file stores, they are kept in float32.

    Args:
      weights: see `glowdiff.importers.weights_files.read`.
      values: flags of the original, see `glowdiff.importers.glide_flags`.
      workdir: a folder that is empty or not there.
      vocab: a file of GPT-2's vocabulary; None: the package tiktoken fetches it.
      data: a data set's name, an .npz file or a folder of captioned images; None: of no one's.
      batch: images per step if training goes on; 0: 256.
      dtype: of the networks' arithmetic.

    Returns:
      Whether `data` are on this machine. If not, the workdir samples; to train on, start from it (`train.init_from`).

    Raises:
      ConfigError, WeightsError: in the user's words.
    """
    check_new(workdir)
    flags = glide_flags.parse(values)
    config = configuration(flags, data, batch=batch, dtype=dtype)
    assumed = assumed_spec(flags, config.data.name)
    spec, ready = facts(assumed, config.data, None) if data else (assumed, False)
    config.model.check_data(spec, config.data)
    tokenizer = tokenizers.gpt2(vocab)
    require(
        tokenizer.size == config.model.text.vocab_size,
        f"{'--vocab' if vocab else 'GPT-2'} has {tokenizer.size:,} tokens; the flags ask for "
        f"n_vocab={config.model.text.vocab_size}.",
    )
    _, variables = glide(weights_files.read(weights), values)
    write(workdir, config, spec, variables)
    tokenizer.save(workdir)
    return ready
