"""One look of a network at a set of images: what figures need of it, whatever the number of images."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from glowdiff.data.progress import counted
from glowdiff.errors import ConfigError, require
from glowdiff.metrics.features import Batches, array_batches, collected, gathered, observer, reader
from glowdiff.metrics.figures import Measured, Needs
from glowdiff.metrics.images import Images
from glowdiff.trained import Trained

KEPT = 50_000  # images of a set of which features are kept; mean and covariance are of all


class Network(NamedTuple):
    """A network that measures."""

    part: Trained
    name: str  # in the names of figures


class Look:
    """A network that looks at images, compiled once for all sets of one size.

    Attributes:
      prepare: how images become what it takes.
      mesh: the devices.
      batch: images at a time, a multiple of the devices.
    """

    def __init__(self, part: Trained, names: Sequence[str], prepare: str | None, batch: int) -> None:
        """Of a network with `features`.

        Args:
          part: the network.
          names: of its features, all that will be asked for.
          prepare: see `glowdiff.method.Features`; None: the first one.
          batch: images at a time.

        Raises:
          ConfigError: there is no such `prepare`.
        """
        features = part.method.features
        assert features is not None
        self.prepare, self.mesh = prepare or next(iter(features.prepare)), part.mesh
        self.batch = -(-batch // part.mesh.size) * part.mesh.size
        self._features, self._part = features, part
        self._observe = observer(features, part.mesh, names, self.prepare)
        self._read: dict[tuple[str, ...], np.ndarray] = {}  # what was read last, by captions

    @property
    def main(self) -> str:
        """The feature in which distances are measured."""
        return self._features.main

    def __call__(self, images: Images, needs: Needs, what: str, batches: Batches | None = None) -> Measured:
        """What is seen; every process must call it.

        Args:
          images: the set; with captions, if these are to be read.
          needs: what is wanted.
          what: said of it to the person who waits.
          batches: of the set, if they have been begun.

        Raises:
          ConfigError: some features are not finite, or the network does not take images of that size.
        """
        self.check_size(images)
        batches = self.batches(images) if batches is None else batches
        if jax.process_index() == 0:
            batches = counted(batches, f"{what}, in batches of {self.batch}", -(-images.number // self.batch))
        seen = self._observe(self._part.variables, batches)
        found = collected(seen, needs.gaussians, needs.features, lambda numbers: evenly(numbers, images.number))
        features = {name: rows.reshape(len(rows), -1) for name, rows in found.features.items()}
        captions = None
        if needs.captions:
            assert images.captions is not None
            captions = self.read(images.captions.texts)[evenly(np.arange(images.number), images.number)]
        return Measured({name: total.gaussian() for name, total in found.moments.items()}, features, captions)

    def batches(self, images: Images) -> Iterator[Any]:
        """The batches of a set."""
        return images.batches(self.batch)

    def read(self, captions: Sequence[str]) -> np.ndarray:
        """What the network reads in captions, [N, E], each of them once; every process must call it.

        Raises:
          ConfigError: it has no vocabulary.
        """
        different = tuple(dict.fromkeys(captions))
        if different not in self._read:
            self._read = {different: self._texts(different)}
        rows = {caption: row for row, caption in enumerate(different)}
        return self._read[different][[rows[caption] for caption in captions]]

    def check_size(self, images: Images) -> None:
        """Raise `ConfigError` if the network takes images of one size alone, and these have another one."""
        side = self._features.side
        height, width = images.shape
        require(
            self._features.resizes or images.shape == (side, side),
            f"{images.about} has images of {height}x{width} pixels, but the network takes images of {side}x{side} "
            "alone; it was trained on these, and resizing would be measured too.",
        )

    def width(self, name: str) -> int:
        """Numbers of a feature of one image."""
        picture = jax.ShapeDtypeStruct((1, self._features.side, self._features.side, 3), np.uint8)

        def seen(variables: Any, images: jax.Array) -> dict[str, jax.Array]:
            return self._features.images(variables, self._features.prepare[self.prepare](images))

        return jax.eval_shape(seen, self._part.variables, picture)[name].size

    def identity(self) -> list[Any]:
        """JSON that is another one for other weights, or another way to prepare images."""
        return [vars(self._part.config.model.network), self.prepare, digest(self._part)]

    def _texts(self, captions: Sequence[str]) -> np.ndarray:
        section, tokenizer = self._part.config.model.captions, self._part.tokenizer
        if section is None or tokenizer is None:
            raise ConfigError("the network that measures reads no captions; CLIP does.")
        (tokens, mask), cut = tokenizer.encode_cut(captions, section.context)
        if cut and jax.process_index() == 0:
            print(
                f"{cut:,} of the {len(captions):,} captions have more than {section.context} tokens; of these no more "
                "is read.",
                file=sys.stderr,
            )
        batch = min(self.batch, -(-len(captions) // self.mesh.size) * self.mesh.size)
        batches = array_batches(batch, self.mesh, tokens=tokens, tokens_mask=mask)
        return gathered(reader(self._features, self.mesh)(self._part.variables, batches))["text"]


def digest(part: Trained) -> str:
    """Of a network's weights: another one for other weights."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(part.variables):
        found.update(np.asarray(leaf).tobytes())
    return found.hexdigest()


def evenly(numbers: np.ndarray, count: int, most: int = KEPT) -> np.ndarray:
    """Which of the images of a set are kept, bool [n]: all of them, or `most` at even distances.

    >>> np.flatnonzero(evenly(np.arange(10), 10, 4)).tolist()
    [2, 4, 7, 9]
    """
    if count <= most:
        return np.ones(len(numbers), bool)
    wide = numbers.astype(np.int64)
    return (wide + 1) * most // count > wide * most // count
