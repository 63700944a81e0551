"""Data sets for models that read captions: which tokenizer turns them into tokens, and the tokens in the examples."""

from __future__ import annotations

from typing import NamedTuple

from etils import epath

from glowdiff.config.sections import Config
from glowdiff.data import dataset as datasets
from glowdiff.data.captions import train_captions, with_tokens
from glowdiff.data.dataset import Dataset
from glowdiff.errors import require
from glowdiff.text import tokenizer as tokenizers
from glowdiff.text.tokenizer import Tokenizer


class Captioned(NamedTuple):
    """A data set whose examples have what the model reads of them."""

    dataset: Dataset
    tokenizer: Tokenizer | None  # None: the model reads no captions


def load(config: Config, *workdirs: epath.PathLike | None, latents: bool = False) -> Captioned:
    """The data set of a configuration, its captions as tokens if the model reads them.

    Args:
      config: of the run.
      *workdirs: where to look for the tokenizer, first things first; a new one is made where none of them has one: of
        the training captions, or a published one.
      latents: to train on: with prepared latents in place of training images, if `config.data` names any.

    Raises:
      ConfigError: the data cannot be read, have no captions, or the tokenizer has more entries than the model's table.
    """
    dataset = datasets.load(config.data)
    dataset = datasets.with_latents(dataset, config.data) if latents else dataset
    captions = config.model.captions
    if captions is None:
        return Captioned(dataset, None)
    config.model.check_data(dataset.spec, config.data)
    kept = next((w for w in workdirs if w and (epath.Path(w) / tokenizers.FILE).exists()), None)
    if kept is not None:
        tokenizer = tokenizers.load(kept, captions.tokenizer)
    elif captions.tokenizer == "bpe":
        tokenizer = tokenizers.train(train_captions(dataset), captions.vocab_size)
    else:
        tokenizer = tokenizers.gpt2() if captions.tokenizer == "gpt2" else tokenizers.clip()
    require(
        tokenizer.size <= captions.vocab_size,
        f"the tokenizer has {tokenizer.size:,} entries, but model.text.vocab_size is {captions.vocab_size:,}.",
    )
    return Captioned(with_tokens(dataset, tokenizer, captions.context), tokenizer)
