"""OpenMoji's captions and pictures as the benchmarks of text-conditional models ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

import glowdiff
from benchmarks.studies.tones import palette, tone_of
from glowdiff.data.dataset import Dataset, load
from glowdiff.data.sources import Source
from glowdiff.errors import ConfigError

TRAINING, HELD_OUT, UNSEEN = "training", "held-out combinations", "unseen drawings"


class Emoji(NamedTuple):
    """Captions by what a model knows of them, and the real pictures."""

    dataset: Dataset
    groups: dict[str, list[str]]  # TRAINING; HELD_OUT: known drawings in unseen tones; UNSEEN: of the test set
    rows: dict[str, int]  # of all captions, in one order

    def pictures(self, captions: Sequence[str]) -> np.ndarray:
        """Real pictures of captions, uint8 [N, H, W, 3]."""
        train, first = self.dataset.train, len(self.dataset.train)
        rows = [self.rows[caption] for caption in captions]
        examples = [train[row] if row < first else self.dataset.test[row - first] for row in rows]
        return np.stack([example["image"] for example in examples])

    def colours(self) -> np.ndarray:
        """Of the five skin tones, int [5, 3], from the training pictures."""
        captions = [caption for caption in self.groups[TRAINING] if tone_of(caption) is not None]
        return palette(self.pictures(captions), np.array([tone_of(caption) for caption in captions]))

    def some(self, group: str, count: int, seed: int = 0) -> list[str]:
        """`count` captions of a group in random order; where it has fewer, each in turn."""
        captions = self.groups[group]
        order = np.random.default_rng(seed).permutation(len(captions))
        return [captions[row] for row in np.resize(order, count)]

    def group(self, caption: str) -> str:
        """Which group a caption is of."""
        return next(name for name, captions in self.groups.items() if caption in captions)


def emoji_of(model: glowdiff.Model) -> Emoji:
    """What a text-conditional model was trained on, and what was kept from it.

    Raises:
      ConfigError: its data are not OpenMoji, or nothing was held out.
    """
    data = model.config.data
    if data.name != "openmoji" or not data.hold_out:
        raise ConfigError(
            f"the model's data are {data.name}{'' if data.hold_out else ' without data.hold_out'}; this benchmark is "
            "of runs of configs/glide/openmoji32_cpu.py and its like."
        )
    dataset = load(data)
    train, test = _captions(dataset.train), _captions(dataset.test)
    exceptions = {" ".join(caption.split()) for caption in data.hold_out.split("|")}
    groups = {
        TRAINING: train,
        HELD_OUT: [caption for caption in test if caption in exceptions],
        UNSEEN: [caption for caption in test if caption not in exceptions],
    }
    return Emoji(dataset, groups, {caption: row for row, caption in enumerate([*train, *test])})


def _captions(source: Source) -> list[str]:
    return list(source.captions or ())
