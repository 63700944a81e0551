"""Which checkpoints are kept: the newest two and the best one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from glowdiff.workdir.faults import UnreadableError, is_unreadable

NEWEST = 2  # steps that are kept, besides the best one


class Retention:
    """A preservation policy of Orbax: its own `best_fn` would delete the newest step when that is not among the best.

    It remembers the metrics of the steps it has seen.
    """

    def __init__(self, read: Callable[[int], Mapping[str, float]], best: Sequence[str]) -> None:
        """Metrics of a step are read by `read`; the lowest of the first of `best` that a step has makes it the best."""
        self._read, self._best = read, best
        self._metrics: dict[int, Mapping[str, float]] = {}

    def remember(self, step: int, metrics: Mapping[str, float]) -> None:
        """These are the metrics of a step; nothing need be read for it."""
        self._metrics[step] = metrics

    def forget(self, step: int) -> None:
        """The step is gone, or was never saved."""
        self._metrics.pop(step, None)

    def best_of(self, steps: Sequence[int]) -> int | None:
        """The best of `steps`, the later one of equals; None if none has such a metric.

        Raises:
          UnreadableError: the disk or the store does not answer.
        """
        values = {step: self._value(step) for step in steps}
        values = {step: value for step, value in values.items() if not np.isnan(value)}
        return min(values, key=lambda step: (values[step], -step), default=None)

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        """For each of Orbax's checkpoints, whether it is kept."""
        del context
        steps = [checkpoint.step for checkpoint in checkpoints]
        try:
            worthy = {*sorted(steps)[-NEWEST:], self.best_of(steps)}
        except UnreadableError:
            worthy = {*steps}
        return [step in worthy for step in steps]

    def _value(self, step: int) -> float:
        if step not in self._metrics:
            try:
                self._metrics[step] = self._read(step)
            except Exception as error:
                if is_unreadable(error):  # not now; it may be the best
                    raise UnreadableError from error
                self._metrics[step] = {}  # damaged in whatever way: it cannot be
        metrics = self._metrics[step]
        return next((metrics[name] for name in self._best if name in metrics), np.nan)
