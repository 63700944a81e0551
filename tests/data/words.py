"""A tokenizer that knows no more than the lengths of words, and captioned sets to try it on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from glowdiff.data.dataset import Dataset
from glowdiff.data.sources import Memory, Records
from glowdiff.spec import DataSpec
from glowdiff.text.tokenizer import Tokens


class WordLengths:
    """A token for each word: its length."""

    def encode_cut(self, captions: Sequence[str], context: int) -> tuple[Tokens, int]:
        words = [caption.split() for caption in captions]
        tokens, mask = np.zeros((len(words), context), np.int32), np.zeros((len(words), context), bool)
        for row, caption in enumerate(words):
            lengths = [len(word) for word in caption[:context]]
            tokens[row, : len(lengths)] = lengths
            mask[row, : len(lengths)] = True
        return Tokens(tokens, mask), sum(len(caption) > context for caption in words)


def captioned(train: Sequence[str], test: Sequence[str], *, on_disk: bool = False) -> Dataset:
    """A set with these captions, whose image i has i in every pixel and the label i."""

    def split(captions: Sequence[str]) -> Memory | Records:
        count = len(captions)
        images = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 4, 4, 1))
        memory = Memory(images, np.arange(count, dtype=np.int32), captions=captions)
        return Records(range(count), memory.__getitem__, lambda row: captions[row]) if on_disk else memory

    classes = tuple(str(number) for number in range(max(len(train), len(test))))
    spec = DataSpec("captioned", (4, 4, 1), 256, len(train), len(test), classes, captions=True)
    return Dataset(spec, split(train), split(test))
