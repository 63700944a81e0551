"""What features must be before anything is measured with them."""

from __future__ import annotations

import numpy as np

from glowdiff.errors import require

_SHOWN = 8  # numbers of images in a message


def check_features(features: np.ndarray, what: str = "the features", least: int = 2) -> np.ndarray:
    """`features` [N, D] as they are, once it is sure that they can be measured.

    Args:
      features: a row for each image.
      what: whose they are, for messages.
      least: so many images are needed.

    Raises:
      ConfigError: they are no rows of numbers, there are fewer than `least`, or some are not finite.
    """
    features = np.asarray(features)
    require(
        features.ndim == 2 and features.shape[1] > 0 and features.dtype.kind in "fiu",
        f"{what} are {features.dtype} {list(features.shape)}; they must be numbers [images, features].",
    )
    count = len(features)
    require(count >= least, f"{what} are of {_images(count)}; this needs at least {least}.")
    check_none_lost(np.flatnonzero(~np.isfinite(features).all(1)), count, what)
    return features


def check_none_lost(numbers: np.ndarray, count: int, what: str = "the features") -> None:
    """Raise `ConfigError` if there are any images of which features are not finite.

    Args:
      numbers: of these images, counted from 0.
      count: of all images.
      what: whose the features are.
    """
    listed = ", ".join(map(str, np.sort(numbers)[:_SHOWN])) + (" ..." if len(numbers) > _SHOWN else "")
    require(
        len(numbers) == 0,
        f"{what} are not finite (NaN or infinity) for {len(numbers):,} of {_images(count)}, numbers {listed} counted "
        "from 0. Nothing can be measured with them; are the network's weights damaged?",
    )


def check_widths(one: int, other: int, first: str = "the features", second: str = "the reference") -> None:
    """Raise `ConfigError` unless two sets are described by equally many features."""
    require(
        one == other,
        f"{first} have width {one:,}, but {second} width {other:,}; both must be of the same network and layer "
        "(Inception's pool3 has 2,048 features, sFID's map 2,023).",
    )


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"
