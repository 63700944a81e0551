"""Random images in the shape of well-known data sets, so that no benchmark needs a download."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from glowdiff.config.sections import Config, DataConfig
from glowdiff.data.captions import with_tokens
from glowdiff.data.dataset import Dataset
from glowdiff.data.sources import Memory
from glowdiff.errors import ConfigError
from glowdiff.spec import DataSpec
from glowdiff.text.tokenizer import Tokens

_IMAGES = 2048  # random images held in memory, however large the real set

_SETS = (
    DataSpec("digits", (8, 8, 1), 17, 1437, 360, tuple(map(str, range(10)))),
    DataSpec("photos", (32, 32, 3), 256, 4_000, 500),
    DataSpec("openmoji", (32, 32, 3), 256, 3_674, 454, captions=True),
    DataSpec("folder", (64, 64, 3), 256, 100_000, 1_000, captions=True),  # a user's, with captions
    DataSpec("mnist", (28, 28, 1), 256, 60_000, 10_000, tuple(map(str, range(10)))),
    DataSpec("cifar10", (32, 32, 3), 256, 50_000, 10_000, tuple(map(str, range(10)))),
    DataSpec("cifar100", (32, 32, 3), 256, 50_000, 10_000, tuple(map(str, range(100)))),
    DataSpec("downsampled_imagenet/32x32", (32, 32, 3), 256, 1_281_149, 49_999),
    DataSpec("downsampled_imagenet/64x64", (64, 64, 3), 256, 1_281_149, 49_999),
    DataSpec("imagenet2012", (64, 64, 3), 256, 1_281_167, 50_000, tuple(map(str, range(1000)))),
    DataSpec("imagenet_resized/32x32", (32, 32, 3), 256, 1_281_167, 50_000, tuple(map(str, range(1000)))),
    DataSpec("imagenet_resized/64x64", (64, 64, 3), 256, 1_281_167, 50_000, tuple(map(str, range(1000)))),
    DataSpec("lsun/bedroom", (64, 64, 3), 256, 3_033_042, 300),
    DataSpec("lsun/tower", (64, 64, 3), 256, 708_264, 300),
    DataSpec("lsun/church_outdoor", (64, 64, 3), 256, 126_227, 300),
    DataSpec("celeb_a", (64, 64, 3), 256, 162_770, 19_962),
    DataSpec("celeb_a_hq/256", (256, 256, 3), 256, 27_000, 3_000),
)
KNOWN = {spec.name: spec for spec in _SETS}


def known_spec(data: DataConfig) -> DataSpec:
    """The facts about the data set that `data` names, at its `data.size`, read from no file.

    Raises:
      ConfigError: the table above does not have it.
    """
    if data.name not in KNOWN:
        raise ConfigError(
            f"data.name is {data.name!r}, of which no random images can be made; known: {', '.join(KNOWN)}."
        )
    spec = KNOWN[data.name]
    if data.size is None:
        return spec
    return dataclasses.replace(spec, shape=(data.size, data.size, spec.shape[2]))


def synthetic(config: Config) -> Dataset:
    """Uniform noise in the shape of the data set that `config` names; random tokens for models that read captions.

    Raises:
      ConfigError: there is no such set in the table above.
    """
    spec = known_spec(config.data)
    rng = np.random.default_rng(config.seed)
    count = max(_IMAGES, config.train.batch)
    images = rng.integers(spec.levels, size=(count, *spec.shape), dtype=np.uint8)
    labels = rng.integers(len(spec.classes), size=count, dtype=np.int32) if spec.classes else None
    source = Memory(images, labels, captions=[""] * count if spec.captions else None)
    dataset = Dataset(spec, source, source)
    captions = config.model.captions
    if captions is None:
        return dataset
    return with_tokens(dataset, _RandomTokens(captions.vocab_size), captions.context)


class _RandomTokens:
    """In place of a tokenizer, whatever the captions are."""

    def __init__(self, vocab: int) -> None:
        self._vocab = vocab

    def encode_cut(self, captions: Sequence[str], context: int) -> tuple[Tokens, int]:
        """Captions of any length up to the whole context."""
        rng, n = np.random.default_rng(0), len(captions)
        mask = np.arange(context)[None] < rng.integers(1, context + 1, (n, 1))
        return Tokens(rng.integers(self._vocab, size=(n, context), dtype=np.int32), mask), 0


def nothing_in(spec: DataSpec) -> Dataset:
    """A data set of facts and no images, to compile programs that will not run."""
    nothing = Memory(np.empty((0, *spec.shape), np.uint8))
    return Dataset(spec, nothing, nothing)
