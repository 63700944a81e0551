"""Maximum mean discrepancies between sets of features: KID (Binkowski et al., 2018) and CMMD (Jayasumana et al., 2024).

Kernels are summed in float64 and some rows at a time: cubes of sums over 2,048 features need its digits, and a Gaussian
kernel that never leaves [0.98, 1] loses four of float32's seven.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from glowdiff.errors import require, require_choice
from glowdiff.metrics.checks import check_features, check_widths
from glowdiff.metrics.inception_score import Score

ESTIMATORS = ("unbiased", "biased", "u_statistic")
SIGMA = 10.0  # of CMMD's kernel
_ROWS = 2_048  # of a tile

Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]  # [N, D], [M, D] -> [N, M]
Subsets = Iterable[tuple[np.ndarray, np.ndarray]]  # rows of the one set and of the other


def kid(one: np.ndarray, other: np.ndarray, subsets: Subsets | None = None) -> Score:
    """The kernel inception distance: mean and deviation of the unbiased `polynomial_discrepancy` over subsets.

    It may be negative; tables usually print it times 1,000.

    Args:
      one: features [N, D].
      other: features [M, D].
      subsets: pairs of indices; None: `draw_subsets` with its defaults.

    Raises:
      ConfigError: see `polynomial_discrepancy` and `draw_subsets`.
    """
    one, other = check_features(one), check_features(other, "the features of the reference")
    if subsets is None:
        subsets = draw_subsets(len(one), len(other))
    values = [polynomial_discrepancy(one[rows], other[others]) for rows, others in subsets]
    return Score(float(np.mean(values)), float(np.std(values)))


def draw_subsets(
    n: int, m: int, *, count: int = 100, size: int = 1_000, seed: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of subsets of `range(n)` and `range(m)`, each without repetition.

    Raises:
      ConfigError: a set has fewer than `size` images.
    """
    require(count > 0, f"KID over {count} subsets cannot be; give at least 1.")
    require(
        2 <= size <= min(n, m),
        f"KID takes subsets of {size:,} images, but there are {n:,} and {m:,}; give more images or smaller subsets.",
    )
    rng = np.random.default_rng(seed)
    return ((rng.choice(n, size, replace=False), rng.choice(m, size, replace=False)) for _ in range(count))


def polynomial_discrepancy(one: np.ndarray, other: np.ndarray, estimator: str = "unbiased") -> float:
    """The squared discrepancy for the kernel (x.y / D + 1)^3.

    Args:
      one: features [N, D].
      other: features [M, D].
      estimator: unbiased | biased (with the diagonals) | u_statistic (unbiased, and without the pairs i = i between the
        two sets, which are of one size).

    Raises:
      ConfigError: sets of different widths, of fewer than two images or not finite, or another estimator.
    """
    require_choice("estimator", estimator, ESTIMATORS)
    one, other = check_features(one), check_features(other, "the features of the reference")
    check_widths(one.shape[1], other.shape[1])
    (n, width), m = one.shape, len(other)

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / width + 1) ** 3

    def diagonal(x: np.ndarray, y: np.ndarray) -> float:
        return float(((np.einsum("nd,nd->n", x, y, dtype=np.float64) / width + 1) ** 3).sum())

    within, around, between = _sum(kernel, one, one), _sum(kernel, other, other), _sum(kernel, one, other)
    if estimator == "biased":
        return within / n**2 + around / m**2 - 2 * between / (n * m)
    same = (within - diagonal(one, one)) / (n * (n - 1)) + (around - diagonal(other, other)) / (m * (m - 1))
    if estimator == "unbiased":
        return same - 2 * between / (n * m)
    require(n == m, f"a U-statistic takes sets of one size, not {n:,} and {m:,} images.")
    return same - 2 * (between - diagonal(one, other)) / (n * (n - 1))


def cmmd(one: np.ndarray, other: np.ndarray) -> float:
    """CLIP's discrepancy: 1,000 times the biased squared one, for exp(-|x - y|^2 / (2 sigma^2)) with sigma 10.

    The kernels are summed as differences from 1, which cancels between the three sums.

    Args:
      one: CLIP's embeddings of images [N, E], of length 1, see `glowdiff.metrics.clip_score.unit`.
      other: likewise [M, E].

    Raises:
      ConfigError: embeddings of different widths, not finite, or not of length 1.
    """
    one, other = check_features(one, least=1), check_features(other, "the features of the reference", least=1)
    check_widths(one.shape[1], other.shape[1], "the embeddings")
    for each in (one, other):
        lengths = np.linalg.norm(each, axis=1)
        require(
            bool((abs(lengths - 1) < 1e-3).all()),
            f"embeddings have lengths from {lengths.min():.3g} to {lengths.max():.3g}; CMMD compares directions, so "
            "divide each by its length.",
        )

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        squares = np.square(x).sum(1)[:, None] + np.square(y).sum(1)[None] - 2 * x @ y.T
        return np.expm1(squares / (-2 * SIGMA**2))

    n, m = len(one), len(other)
    return 1_000 * (
        _sum(kernel, one, one) / n**2 + _sum(kernel, other, other) / m**2 - 2 * _sum(kernel, one, other) / (n * m)
    )


def _sum(kernel: Kernel, one: np.ndarray, other: np.ndarray) -> float:
    """The sum of a kernel over all pairs, tile by tile; of one set with itself, half of the tiles."""
    total = 0.0
    for i in range(0, len(one), _ROWS):
        rows = one[i : i + _ROWS].astype(np.float64)
        for j in range(i if one is other else 0, len(other), _ROWS):
            weight = 2 if one is other and i != j else 1
            total += weight * float(kernel(rows, other[j : j + _ROWS].astype(np.float64)).sum())
    return total
