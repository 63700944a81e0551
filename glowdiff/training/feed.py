"""Batches on the devices, one ahead of the step."""

from __future__ import annotations

import time
from typing import Any

from jax.sharding import Mesh

from glowdiff.data.batches import TrainIterator
from glowdiff.sharding import put_batch


class Feed:
    """Yields global batches while the next one is already on its way to the devices."""

    def __init__(self, batches: TrainIterator, mesh: Mesh) -> None:
        self._batches, self._mesh = batches, mesh
        self._ahead: tuple[Any, dict[str, int]] | None = None
        self.position = batches.position()  # where to go on after the batches handed out so far
        self.waited = 0.0  # seconds in which a step could not start because its data were not there

    def next(self) -> Any:
        """The next global batch."""
        batch, self.position = self._ahead or self._pull()
        self._ahead = None
        return batch

    def prepare(self) -> None:
        """Fetch the batch after that; call it while the devices are busy."""
        self._ahead = self._pull()

    def _pull(self) -> tuple[Any, dict[str, int]]:
        start = time.perf_counter()
        rows = next(self._batches)
        self.waited += time.perf_counter() - start
        return put_batch(rows, self._mesh), self._batches.position()
