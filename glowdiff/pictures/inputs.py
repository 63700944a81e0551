"""Files of the user's as images of a model: pictures, masks beside them, arrays of small ones."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from glowdiff.archives import open_npz
from glowdiff.errors import ConfigError, require, shown
from glowdiff.pictures.reader import Refused, centre_square, read_image
from glowdiff.spec import DataSpec


class Pictures(NamedTuple):
    """Images for a model, and what people call them."""

    images: np.ndarray  # uint8 [N, H, W, C], 0 ... levels - 1
    labels: np.ndarray | None  # int32 [N], of data with labels
    names: list[str]


def from_files(paths: Sequence[str], spec: DataSpec, flag: str = "--images") -> Pictures:
    """Picture files as a model's images: as a folder's are read, then brought to the model's channels and levels.

    Args:
      paths: of the files.
      spec: of the model's data.
      flag: that named them, for messages.

    Raises:
      ConfigError: a file is no picture, is damaged or too large; or the model's images are not pictures.
    """
    channels = spec.shape[-1]
    require(channels in (1, 3), f"{flag}: this model's images have {channels} channels; files have 1 or 3.")
    images = []
    for path in paths:
        try:
            images.append(_to_model(_read(Path(path).expanduser(), spec.shape[:2]), spec))
        except Refused as reason:
            raise ConfigError(f"{flag}: {path} cannot be used: {reason}.") from reason
    return Pictures(np.stack(images), None, [Path(path).stem for path in paths])


def from_samples(path: str, spec: DataSpec, shape: tuple[int, ...], flag: str) -> Pictures:
    """Images that a model is told: a picture, or the samples of another model in the `.npz` that sample.py writes.

    Args:
      path: of the file.
      spec: of the data of the model that is told.
      shape: [H, W, C] of the images; pictures are resized to it, arrays must have it.
      flag: that named the file, for messages.

    Raises:
      ConfigError: the file cannot be read, or its arrays are not such images.
    """
    height, width, channels = shape
    wanted = dataclasses.replace(spec, shape=(height, width, channels))
    if not path.endswith(".npz"):
        return from_files([path], wanted, flag)
    with open_npz(Path(path).expanduser(), flag, "a picture or an .npz file", "sample.py --out=FILE.npz") as arrays:
        headers = {name: arrays.header(name) for name in ("arr_0", "arr_1", "levels") if name in arrays}
        images, levels = headers.get("arr_0"), arrays["levels"] if "levels" in headers else np.array(256)
        require(
            levels.shape == () and levels.dtype.kind in "iu",
            f"{flag} is {path}, whose levels are {shown(levels)}; they must be one whole number.",
        )
        require(
            images is not None
            and images.dtype == np.uint8
            and len(images.shape) == 4
            and images.shape[1:] == wanted.shape
            and images.shape[0] > 0
            and levels == spec.levels,
            f"{flag} is {path}, which must hold arr_0, uint8 [N, {', '.join(map(str, wanted.shape))}] of {spec.levels} "
            f"levels; it holds {f'{images.dtype} {list(images.shape)} of {levels} levels' if images else 'none'}.",
        )
        pixels, labels = arrays["arr_0"], arrays["arr_1"] if "arr_1" in headers else None
    require(
        labels is None
        or (labels.dtype.kind in "iu" and labels.shape == pixels.shape[:1] and labels.max(initial=0) < 2**31),
        f"{flag} is {path}, whose arr_1 is {shown(labels)}; it must be the labels of {len(pixels)} images, integers.",
    )
    names = [str(row) for row in range(len(pixels))]
    return Pictures(pixels, None if labels is None else labels.astype(np.int32), names)


def fitted(picture: Image.Image, shape: tuple[int, int]) -> Image.Image:
    """The largest centre of a model's proportions (height, width), resized to them."""
    height, width = shape
    if height == width:
        return centre_square(picture, height)
    return ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)


def _read(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """RGB pixels uint8 [H, W, 3] of the file's centre."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")  # of odd metadata; what matters is raised
        return np.asarray(fitted(Image.fromarray(read_image(path, None)), shape))


def _to_model(pixels: np.ndarray, spec: DataSpec) -> np.ndarray:
    if spec.shape[-1] == 1:
        pixels = np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
    if spec.levels == 256:
        return pixels
    return np.round(pixels.astype(np.float32) * ((spec.levels - 1) / 255)).astype(np.uint8)
