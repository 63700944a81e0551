"""One look of a network at a set of images: what figures need of it, whatever the number of images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from glowdiff.data.progress import counted
from glowdiff.metrics.features import Batches, collected, observer
from glowdiff.metrics.figures import Measured, Needs
from glowdiff.metrics.images import Images
from glowdiff.networks.feature_networks import FeatureNetwork
from glowdiff.trained import Trained

KEPT = 50_000  # images of a set of which features are kept; mean and covariance are of all


class Look:
    """A network that looks at images, compiled once for all sets of one size.

    Attributes:
      network: the section that describes it.
      prepare: how images become what it takes.
      mesh: the devices.
      batch: images at a time, a multiple of the devices.
    """

    def __init__(self, part: Trained, names: Sequence[str], prepare: str | None, batch: int) -> None:
        """Of a feature network.

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
        self.network: FeatureNetwork = part.config.model.network
        self.prepare, self.mesh = prepare or next(iter(features.prepare)), part.mesh
        self._features, self._part, self.batch = features, part, -(-batch // part.mesh.size) * part.mesh.size
        self._observe = observer(features, part.mesh, names, self.prepare)

    def __call__(self, images: Images, needs: Needs, what: str, batches: Batches | None = None) -> Measured:
        """What is seen; every process must call it.

        Args:
          images: the set.
          needs: what is wanted.
          what: said of it to the person who waits.
          batches: of the set, if they have been begun.

        Raises:
          ConfigError: some features are not finite.
        """
        batches = self.batches(images) if batches is None else batches
        if jax.process_index() == 0:
            batches = counted(batches, f"{what}, in batches of {self.batch}", -(-images.number // self.batch))
        seen = self._observe(self._part.variables, batches)
        found = collected(seen, needs.gaussians, needs.features, lambda numbers: evenly(numbers, images.number))
        features = {name: rows.reshape(len(rows), -1) for name, rows in found.features.items()}
        return Measured({name: total.gaussian() for name, total in found.moments.items()}, features)

    def batches(self, images: Images) -> Iterator[Any]:
        """The batches of a set."""
        return images.batches(self.batch)

    def width(self, name: str) -> int:
        """Numbers of a feature of one image."""
        picture = jax.ShapeDtypeStruct((1, self.network.side, self.network.side, 3), np.uint8)

        def seen(variables: Any, images: jax.Array) -> dict[str, jax.Array]:
            return self._features.images(variables, self._features.prepare[self.prepare](images))

        return jax.eval_shape(seen, self._part.variables, picture)[name].size

    def identity(self) -> list[Any]:
        """JSON that is another one for other weights, or another way to prepare images."""
        digest = hashlib.sha256()
        for leaf in jax.tree.leaves(self._part.variables):
            digest.update(np.asarray(leaf).tobytes())
        return [vars(self.network), self.prepare, digest.hexdigest()]


def evenly(numbers: np.ndarray, count: int, most: int = KEPT) -> np.ndarray:
    """Which of the images of a set are kept, bool [n]: all of them, or `most` at even distances.

    >>> np.flatnonzero(evenly(np.arange(10), 10, 4)).tolist()
    [2, 4, 7, 9]
    """
    if count <= most:
        return np.ones(len(numbers), bool)
    wide = numbers.astype(np.int64)
    return (wide + 1) * most // count > wide * most // count
