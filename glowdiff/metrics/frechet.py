"""The Fréchet distance between sets of features: FID (Heusel et al., 2017), sFID, FD-DINOv2 and whatever it is named.

d^2 = |mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2)). With S_i = F_i F_i^T the last trace is the nuclear norm of
F_1^T F_2, a sum of singular values: it needs no square root of a product that may not be definite, which is where other
ways lose digits or find complex numbers. With few features at hand F_i is their centred rows, exact for any rank.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from glowdiff.errors import require
from glowdiff.metrics.checks import check_features, check_widths
from glowdiff.metrics.moments import Gaussian, moments_of

SPATIAL_CHANNELS = 7  # of Inception's map that sFID keeps


class _Root(NamedTuple):
    """A set of features as its distance sees it."""

    mean: np.ndarray  # [D]
    factor: np.ndarray  # [R, D]; factor^T factor is the covariance


def frechet_distance(one: Gaussian, other: Gaussian) -> float:
    """The squared distance between two Gaussians, in float64.

    Eigenvalues that are rounding errors of the largest one count as 0, as those are that a singular covariance (fewer
    images than features) cannot have.

    Raises:
      ConfigError: they are of different widths.
    """
    return _distance(_root_of(one), _root_of(other))


def frechet_distance_of_features(one: np.ndarray, other: np.ndarray) -> float:
    """The squared distance between two sets of features [N, D] and [M, D], exact where N or M is at most D.

    Raises:
      ConfigError: they are of different widths, of fewer than two images, or not finite.
    """
    one, other = check_features(one), check_features(other, "the features of the reference")
    check_widths(one.shape[1], other.shape[1])
    return _distance(_root_of_features(one), _root_of_features(other))


def spatial(maps: np.ndarray) -> np.ndarray:
    """What sFID compares (Nash et al., 2021): maps [N, H, W, C] -> [N, H W 7], of their first 7 channels."""
    require(
        maps.ndim == 4 and maps.shape[-1] >= SPATIAL_CHANNELS,
        f"maps have shape {list(maps.shape)}; sFID takes [images, height, width, at least {SPATIAL_CHANNELS}].",
    )
    return maps[..., :SPATIAL_CHANNELS].reshape(len(maps), -1)


def frechet_infinity(
    features: np.ndarray, reference: Gaussian, *, points: int = 15, smallest: int = 5_000, seed: int = 0
) -> float:
    """What the distance would be for infinitely many images (Chong & Forsyth, 2020, section 3.1): FID-infinity.

    The distance is biased upwards by about 1/N. So it is measured for `points` numbers of images, evenly spaced from
    `smallest` up to all, each time of images drawn anew; its line over 1/N is read off at 0.

    Args:
      features: [N, D].
      reference: of the real images; its own bias stays.
      points: numbers of images.
      smallest: of these numbers.
      seed: of the draws.

    Raises:
      ConfigError: there are too few images for that, or features that are not finite.
    """
    features = check_features(features)
    require(points > 1, f"a line through {points} point{'s' * (points != 1)} cannot be; give at least 2.")
    require(
        2 <= smallest < len(features),
        f"FID-infinity starts from {smallest:,} images, but there are {len(features):,}; it needs more, or a smaller "
        "start.",
    )
    root, rng = _root_of(reference), np.random.default_rng(seed)
    counts = np.linspace(smallest, len(features), points).astype(int)
    measured = [
        _distance(_root_of_features(features[np.sort(rng.choice(len(features), n, replace=False))]), root)
        for n in counts
    ]
    return float(np.polynomial.Polynomial.fit(1 / counts, measured, 1).convert().coef[0])


def _distance(one: _Root, other: _Root) -> float:
    check_widths(len(one.mean), len(other.mean))
    cross = np.linalg.svd(one.factor @ other.factor.T, compute_uv=False).sum()
    traces = np.square(one.factor).sum() + np.square(other.factor).sum()
    # Below zero by rounding alone.
    return max(0.0, float(np.square(one.mean - other.mean).sum() + traces - 2 * cross))


def _root_of(gaussian: Gaussian) -> _Root:
    values, vectors = np.linalg.eigh(gaussian.covariance)
    real = values > len(values) * np.finfo(np.float64).eps * values[-1]
    return _Root(gaussian.mean, np.sqrt(values[real])[:, None] * vectors.T[real])


def _root_of_features(features: np.ndarray) -> _Root:
    """The centred rows themselves, which leave no rank to guess; of more rows than features, by the covariance."""
    if len(features) > features.shape[1]:
        return _root_of(moments_of(features).gaussian())
    rows = features.astype(np.float64)
    mean = rows.mean(0)
    return _Root(mean, (rows - mean) / np.sqrt(len(rows) - 1))
