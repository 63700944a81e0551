"""Files of statistics: `mu` and `sigma` of a set of images, as most published ones hold them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from etils import epath

from glowdiff.archives import open_npz
from glowdiff.errors import require
from glowdiff.files import write_whole
from glowdiff.metrics.moments import Gaussian

_CONTENT = "an .npz file of the statistics mu [features] and sigma [features, features]"
_EXAMPLE = "np.savez(path, mu=mu, sigma=sigma)"
_ASYMMETRY = 1e-3  # of the largest entry, that float32 or another library's products may leave


def read(path: Path, width: int, *, suffix: str = "", key: str = "--reference") -> Gaussian:
    """The statistics in the file at `path`, in float64.

    Files of pytorch-fid, TTUR, EDM and clean-fid hold `mu` and `sigma`, ADM's reference batches also `mu_s` and
    `sigma_s`, of sFID's features.

    Args:
      path: of the file.
      width: of the features that they must be of.
      suffix: behind the names: `_s` for sFID.
      key: the flag that names the file, for messages.

    Raises:
      ConfigError: the file is missing or damaged, or holds no such statistics of that width.
    """
    mu, sigma = f"mu{suffix}", f"sigma{suffix}"
    with open_npz(path, key, _CONTENT, _EXAMPLE) as arrays:
        missing = [name for name in (mu, sigma) if name not in arrays]
        held = ", ".join(sorted(arrays)[:8]) or "nothing"
        require(not missing, f"{key} is {path}, which holds {held}, but no {' and no '.join(missing)}.")
        shapes = [list(arrays.header(name).shape) for name in (mu, sigma)]
        require(
            shapes == [[width], [width, width]],
            f"{key} is {path}, whose {mu} and {sigma} have shapes {shapes[0]} and {shapes[1]}; the features here have "
            f"width {width:,}. Are they of another network or layer?",
        )
        mean, covariance = (arrays[name] for name in (mu, sigma))
    for name, array in ((mu, mean), (sigma, covariance)):
        require(
            array.dtype.kind == "f" and bool(np.isfinite(array).all()),
            f"{key} is {path}, whose {name} ({array.dtype}) is not all finite numbers.",
        )
    covariance = covariance.astype(np.float64)
    largest = abs(covariance).max()
    require(
        bool((abs(covariance - covariance.T) <= _ASYMMETRY * largest).all()),
        f"{key} is {path}, whose {sigma} is not symmetric, so it is no covariance.",
    )
    return Gaussian(mean.astype(np.float64), (covariance + covariance.T) / 2)


def write(path: epath.PathLike, gaussian: Gaussian) -> None:
    """Write `mu` and `sigma`, for `read` and for other programs."""
    content = io.BytesIO()
    np.savez(content, mu=gaussian.mean, sigma=gaussian.covariance)
    write_whole(path, content.getvalue())
