"""Mean and covariance of any number of features, gathered batch by batch and process by process, in float64.

Kept are the number of images, the mean and the scatter about it, and two of these merge exactly (Chan et al., 1979);
sums of squares would lose the deviation beside a large mean. So no figure depends on how images came in batches, on
devices or on processes, beyond the last digits of float64.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from glowdiff.errors import require
from glowdiff.metrics.checks import check_features, check_widths

ROWS = 4_096  # that are widened to float64 at a time


class Gaussian(NamedTuple):
    """The normal distribution that stands for a set of images; what files of statistics hold."""

    mean: np.ndarray  # float64 [D]
    covariance: np.ndarray  # float64 [D, D], divided by n - 1


class Moments(NamedTuple):
    """The moments of some rows."""

    images: int
    mean: np.ndarray  # float64 [D]
    scatter: np.ndarray  # float64 [D, D], the sum of (x - mean)(x - mean)^T

    def gaussian(self) -> Gaussian:
        """Mean and covariance.

        Raises:
          ConfigError: of fewer than two images there is no covariance.
        """
        require(
            self.images > 1,
            f"statistics of {self.images} image{'s' * (self.images != 1)} have no covariance; give more.",
        )
        return Gaussian(self.mean, self.scatter / (self.images - 1))


def none(width: int) -> Moments:
    """The moments of no rows of `width` features."""
    return Moments(0, np.zeros(width), np.zeros((width, width)))


def moments_of(features: np.ndarray) -> Moments:
    """The moments of features [N, D] of any floating type.

    Raises:
      ConfigError: some are not finite, or there are none.
    """
    features = check_features(features, least=1)
    total = none(features.shape[1])
    for start in range(0, len(features), ROWS):
        rows = features[start : start + ROWS].astype(np.float64)
        mean = rows.mean(0)
        rows -= mean
        total = merge(total, Moments(len(rows), mean, rows.T @ rows))
    return total


def merge(one: Moments, other: Moments) -> Moments:
    """The moments of the rows of both.

    Raises:
      ConfigError: they are of different widths.
    """
    check_widths(len(one.mean), len(other.mean), second="others to be merged with them")
    count = one.images + other.images
    if not (one.images and other.images):
        return one if one.images else other
    step = other.mean - one.mean
    scatter = one.scatter + other.scatter
    scatter += np.outer(step * (one.images * other.images / count), step)
    return Moments(count, one.mean + step * (other.images / count), scatter)


def merge_all(parts: Iterable[Moments]) -> Moments:
    """The moments of the rows of all parts; there is at least one."""
    first, *rest = parts
    for each in rest:
        first = merge(first, each)
    return first


def across_processes(own: Moments) -> Moments:
    """The moments of the rows of all processes, the same in each; every process must call it.

    They travel one process's at a time, so that no host holds more than two.
    """
    if jax.process_count() == 1:
        return own
    packed = np.concatenate([[own.images], own.mean, own.scatter.ravel()])
    width, total = len(own.mean), none(len(own.mean))
    for process in range(jax.process_count()):
        # As integers, for JAX would make float32 of float64.
        words = multihost_utils.broadcast_one_to_all(packed.view(np.uint32), jax.process_index() == process)
        values = np.asarray(words).view(np.float64)
        scatter = values[1 + width :].reshape(width, width)
        total = merge(total, Moments(int(values[0]), values[1 : 1 + width], scatter))
    return total
