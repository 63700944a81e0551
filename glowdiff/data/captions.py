"""Captions as conditions: models read tokens instead of words."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import Protocol

import jax
import numpy as np

from glowdiff.data.dataset import Dataset
from glowdiff.data.sources import Example, Records, Source
from glowdiff.errors import require
from glowdiff.spec import DataSpec
from glowdiff.text.tokenizer import Tokens

_SHOWN = 100  # characters of a caption in a message


class Tokenizer(Protocol):
    """What makes tokens of captions."""

    def encode_cut(self, captions: Sequence[str], context: int) -> tuple[Tokens, int]:
        """The tokens of N `captions`, each cut or filled up to L = `context`, and how many were cut."""
        ...


def with_tokens(dataset: Dataset, tokenizer: Tokenizer, context: int) -> Dataset:
    """`dataset` with each example's caption among its conditions, beside the label.

    `cond["tokens"]` is int32 [context] and `cond["mask"]` bool [context], True at real tokens. Captions held in memory
    are turned into tokens now, those on disk whenever their example is read. Captions that had to be cut are mentioned
    once on stderr.

    Raises:
      ConfigError: the set has no captions.
    """
    require_captions(dataset.spec)
    notice = _Notice(dataset.spec, tokenizer, context)
    train, test = (
        _TokensAtAccess(source, tokenizer, context, notice)
        if isinstance(source, Records)
        else _TokensInMemory(source, tokenizer, context, notice)
        for source in (dataset.train, dataset.test)
    )
    notice.say()
    return dataset._replace(train=train, test=test)


def train_captions(dataset: Dataset) -> list[str]:
    """The captions of all training examples, in order, to make a tokenizer of; no image is decoded.

    Raises:
      ConfigError: the set has no captions.
    """
    require_captions(dataset.spec)
    return list(dataset.train.captions or ())


def require_captions(spec: DataSpec) -> None:
    """Raise `ConfigError` unless the set has captions."""
    require(
        spec.captions,
        f"data.name is {spec.name!r}, whose images have no captions here; those of openmoji have, and a folder's get "
        "theirs from a text file beside each image (dog.txt beside dog.png), or from metadata.csv or metadata.jsonl "
        "with file_name and text.",
    )


class _TokensInMemory:
    """A split whose captions are tokens already."""

    def __init__(self, source: Source, tokenizer: Tokenizer, context: int, notice: _Notice) -> None:
        self._source = source
        self.captions = list(source.captions or ())
        (self._tokens, self._mask), cut = tokenizer.encode_cut(self.captions, context)
        notice.count(self.captions, cut)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Example:
        return _conditioned(self._source[index], self._tokens[index], self._mask[index])

    def __repr__(self) -> str:
        return f"{self._source!r} with tokens"


class _TokensAtAccess:
    """A split whose captions become tokens when an example is read."""

    def __init__(self, source: Records, tokenizer: Tokenizer, context: int, notice: _Notice) -> None:
        self._source = source
        self._tokenizer = tokenizer
        self._context = context
        self._notice = notice

    @property
    def captions(self) -> Sequence[str] | None:
        return self._source.captions

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Example:
        example = self._source[index]
        caption = example.get("caption", "")
        (tokens, mask), cut = self._tokenizer.encode_cut([caption], self._context)
        if cut:
            self._notice.say_one(caption)
        return _conditioned(example, tokens[0], mask[0])

    def __repr__(self) -> str:
        return f"{self._source!r} with tokens"


class _Notice:
    """What is said of captions that were cut, once and by process 0 only."""

    def __init__(self, spec: DataSpec, tokenizer: Tokenizer, context: int) -> None:
        self._name = spec.name
        self._tokenizer = tokenizer
        self._context = context
        self._all = self._cut = 0
        self._example = ""
        self._lock = threading.Lock()  # threads read ahead
        self._said = jax.process_index() != 0

    def count(self, captions: Sequence[str], cut: int) -> None:
        """Note that `cut` of `captions` were cut."""
        self._all += len(captions)
        self._cut += cut
        if cut and not self._example:
            longest_first = sorted(captions, key=len, reverse=True)
            self._example = next(one for one in longest_first if self._tokenizer.encode_cut([one], self._context)[1])

    def say(self) -> None:
        """Say how many captions were cut, if any."""
        if self._cut:
            self._write(
                f"{self._cut:,} of the {self._all:,} captions of {self._name} have more than {self._context} tokens "
                f"and were cut, for example {_shown(self._example)}."
            )

    def say_one(self, caption: str) -> None:
        """Say that `caption` was cut, when it is the first."""
        self._write(
            f"some captions of {self._name} have more than {self._context} tokens and are cut, first {_shown(caption)}."
        )

    def _write(self, text: str) -> None:
        with self._lock:
            if not self._said:
                self._said = True
                print(text, file=sys.stderr)


def _conditioned(example: Example, tokens: np.ndarray, mask: np.ndarray) -> Example:
    return {**example, "cond": {**example["cond"], "tokens": tokens, "mask": mask}}


def _shown(caption: str) -> str:
    return repr(caption if len(caption) <= _SHOWN else f"{caption[:_SHOWN]}...")
