"""What samples are compared with: a file of statistics or of images, a folder, or a data set."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from glowdiff.archives import open_npz
from glowdiff.errors import ConfigError, require
from glowdiff.files import write_whole
from glowdiff.metrics import images as image_sets
from glowdiff.metrics import statistics
from glowdiff.metrics.figures import FEATURES, GAUSSIAN, Measured, Needs
from glowdiff.metrics.images import Images
from glowdiff.metrics.look import Look
from glowdiff.metrics.moments import Gaussian
from glowdiff.workdir.agreement import everywhere

SUFFIXES = {"spatial": "_s"}  # behind `mu` and `sigma` in files; of other features none
_CONTENT = "an .npz file of images (arr_0) or of statistics (mu, sigma)"
_EXAMPLE = "np.savez(path, mu=mu, sigma=sigma)"
_FORMAT = 1  # of what is kept


class Reference(NamedTuple):
    """A set of images, as far as it is known."""

    name: str  # in the names of figures
    images: Images | None  # None: there are only statistics
    gaussians: dict[str, Gaussian]  # by feature, that a file holds
    about: str  # in words


def of_file(path: Path, needs: Needs, look: Look) -> Reference:
    """A reference in an .npz file: of ADM, pytorch-fid, EDM, or images alone.

    Statistics in the file are taken, where they are wanted and of the features' width, in front of images.

    Raises:
      ConfigError: the file cannot be read, or does not hold what is needed.
    """
    key = "--reference"
    with open_npz(path, key, _CONTENT, _EXAMPLE) as arrays:
        names = set(arrays)
        widths = {name: arrays.header(name).shape for name in names if name.startswith("mu")}
    gaussians = {}
    for feature in needs.gaussians:
        suffix, width = SUFFIXES.get(feature, ""), look.width(feature)
        if widths.get(f"mu{suffix}") == (width,) or "arr_0" not in names:
            gaussians[feature] = statistics.read(path, width, suffix=suffix, key=key)
    missing = needs.features or [name for name in needs.gaussians if name not in gaussians]
    require(
        not missing or "arr_0" in names,
        f"{key} is {path}, which holds statistics alone; --metrics asks for features of each image: name a file with "
        "images (arr_0), a folder or a data set.",
    )
    images = image_sets.of_file(path, look.mesh, key) if missing else None
    what = [f"statistics of {', '.join(gaussians)}"] if gaussians else []
    what += [f"{images.number:,} images"] if images else []
    return Reference(path.stem, images, gaussians, f"{path}, {' and '.join(what)}")


def of_images(images: Images) -> Reference:
    """A reference of which the images are all that is known."""
    return Reference(images.name, images, {}, f"{images.about}, {images.number:,} images")


def measured(reference: Reference, needs: Needs, look: Look, folder: Path) -> Measured:
    """What is needed of a reference: read, or looked at and kept in `folder`; every process must call it.

    What is kept depends on the images, the network's weights and the way images are prepared. The first process writes
    it, and all read it, if all find it.

    Raises:
      ConfigError: features of some images are not finite.
    """
    asked = [(GAUSSIAN, name) for name in needs.gaussians if name not in reference.gaussians]
    asked += [(FEATURES, name) for name in needs.features]
    if not asked:
        return Measured(reference.gaussians, {})
    assert reference.images is not None
    facts = [_FORMAT, reference.images.identity, look.identity()]
    key = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]
    files = {each: folder / key / f"{each[1]}_{each[0]}.npz" for each in asked}
    kept = {each: _read(file, each[0], look.width(each[1])) for each, file in files.items()}
    if not everywhere(all(found is not None for found in kept.values())):
        gaussians, features = (tuple(name for kind, name in asked if kind == wanted) for wanted in (GAUSSIAN, FEATURES))
        seen = look(reference.images, Needs(gaussians, features), "looking at the reference")
        kept = {each: (seen.gaussians if each[0] == GAUSSIAN else seen.features)[each[1]] for each in asked}
        if jax.process_index() == 0:
            for each, file in files.items():
                _WRITE[each[0]](file, kept[each])
    found: dict[str, dict[str, Any]] = {GAUSSIAN: dict(reference.gaussians), FEATURES: {}}
    for (kind, name), value in kept.items():
        found[kind][name] = value
    return Measured(found[GAUSSIAN], found[FEATURES])


def _read(file: Path, kind: str, width: int) -> Any:
    """What is kept in a file; None: nothing, or it is damaged."""
    if not file.exists():
        return None
    try:
        if kind == GAUSSIAN:
            return statistics.read(file, width)
        with open_npz(file, "what is kept of the reference", "features", "it") as arrays:
            return arrays["features"]
    except (ConfigError, KeyError):
        return None


def _write_features(file: Path, features: np.ndarray) -> None:
    content = io.BytesIO()
    np.savez(content, features=features)
    write_whole(file, content.getvalue())


_WRITE: dict[str, Callable[[Path, Any], None]] = {GAUSSIAN: statistics.write, FEATURES: _write_features}
