"""The Inception score (Salimans et al., 2016): exp(mean KL(p(y|x) | p(y))) of a classifier's logits."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from glowdiff.errors import require
from glowdiff.metrics.checks import check_features


class Score(NamedTuple):
    """A figure that is the mean of several."""

    mean: float
    deviation: float  # of these, the population's


def inception_score(logits: np.ndarray, *, splits: int = 10) -> Score:
    """The score as first published: mean and deviation over equal parts of the images.

    Args:
      logits: [N, classes], in the order in which the images shall be parted: shuffle them if that one means anything.
      splits: S parts, of the images from i N // S to (i + 1) N // S.

    Raises:
      ConfigError: there are fewer images than parts, or logits that are not finite.
    """
    logits = check_features(logits, "the logits", least=1)
    require(
        1 <= splits <= len(logits), f"{len(logits):,} images cannot be parted in {splits}; give between 1 and as many."
    )
    ends = [part * len(logits) // splits for part in range(splits + 1)]
    return _scored(logits, ends)


def inception_score_of_parts(logits: np.ndarray, *, size: int = 5_000) -> Score:
    """ADM's score: over consecutive parts of `size` images; the last one may be shorter and counts as much.

    ADM prints the mean, of logits without bias.

    Raises:
      ConfigError: there are logits that are not finite.
    """
    logits = check_features(logits, "the logits", least=1)
    require(size > 0, f"parts of {size} images cannot be.")
    return _scored(logits, [*range(0, len(logits), size), len(logits)])


def _scored(logits: np.ndarray, ends: list[int]) -> Score:
    scores = [_score(logits[start:end]) for start, end in pairwise(ends)]
    return Score(float(np.mean(scores)), float(np.std(scores)))


def _score(logits: np.ndarray) -> float:
    rows = logits.astype(np.float64)
    log_p = rows - _log_sum_exp(rows, 1)
    log_marginal = _log_sum_exp(log_p, 0) - np.log(len(log_p))  # finite also where every p(y|x) is 0 in floats
    return float(np.exp((np.exp(log_p) * (log_p - log_marginal)).sum(1).mean()))


def _log_sum_exp(values: np.ndarray, axis: int) -> np.ndarray:
    top = values.max(axis, keepdims=True)
    return top + np.log(np.exp(values - top).sum(axis, keepdims=True))
