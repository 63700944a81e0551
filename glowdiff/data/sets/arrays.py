"""Images in an .npz file of the user's: `arr_0` (or `images`), optionally `arr_1` (or `labels`) and `levels`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from glowdiff.archives import Archive, Header, open_npz
from glowdiff.config.sections import DataConfig
from glowdiff.data.holdout import held_out
from glowdiff.data.sources import Memory
from glowdiff.errors import ConfigError, require
from glowdiff.spec import DataSpec

_MOST_CLASSES = 100_000  # larger labels are surely something else, an index for instance
_NAMED = 8  # arrays in a message
_CHANNELS, _LEAST_SIDE = (1, 3, 4), 8  # by which PyTorch's order of axes is known


def read(config: DataConfig) -> tuple[DataSpec, Memory, Memory]:
    """The facts, the training and the test split of the file at `config.path`.

    The file holds images uint8 [N, H, W, C] of any number of channels, labels (integers from 0) [N], and `levels`
    (default 256), the number of values a pixel may have. A fixed hash of the row decides what is held out.

    Raises:
      ConfigError: the file is missing, is no .npz, or its arrays are not as above. Pickled objects in it are
        refused unread, and other arrays are not looked at.
    """
    path = Path(config.path or "").expanduser()
    content = "an .npz file of images (arr_0 uint8 NHWC)"
    with open_npz(path, "data.path", content, "np.savez(path, images)") as arrays:
        images = _image_array(path, arrays)
        labels = _label_array(path, arrays, len(images))
        levels = _levels(path, arrays)
    largest = int(images.max())
    require(
        largest < levels,
        f"data.path is {path}, whose levels are {levels}, so that pixels are 0 ... {levels - 1}; "
        f"one of its pixels is {largest}.",
    )
    test = held_out([str(row) for row in range(len(images))], config.test_fraction)
    classes = () if labels is None else tuple(str(label) for label in range(int(labels.max()) + 1))
    height, width, channels = images.shape[1:]
    spec = DataSpec("arrays", (height, width, channels), levels, int((~test).sum()), int(test.sum()), classes)
    train_split, test_split = (Memory(images[rows], None if labels is None else labels[rows]) for rows in (~test, test))
    return spec, train_split, test_split


def _image_array(path: Path, arrays: Archive) -> np.ndarray:
    name = next((name for name in ("arr_0", "images") if name in arrays), None)
    if name is None:
        raise ConfigError(f"data.path is {path}, which holds {_names(arrays)}; the images must be arr_0 or images.")
    images = arrays.header(name)
    require(
        images.dtype == np.uint8,
        f"data.path is {path}, whose {name} is {images.dtype}; it must be uint8, integers from 0 to levels - 1.",
    )
    require(
        len(images.shape) == 4,
        f"data.path is {path}, whose {name} has shape {images.shape}; it must be [N, H, W, C]"
        + (" (for gray images save images[..., None])." if len(images.shape) == 3 else "."),
    )
    require(
        not _channels_first(images),
        f"data.path is {path}, whose {name} has shape {images.shape}, channels first as PyTorch has them; it must be "
        "[N, H, W, C]: save np.moveaxis(images, 1, -1).",
    )
    require(
        images.shape[0] >= 2 and images.size > 0,
        f"data.path is {path}, whose {name} has shape {images.shape}; "
        "at least two images are needed, one to train on and one to test on.",
    )
    return arrays[name]


def _channels_first(images: Header) -> bool:
    """Whether the axes are surely [N, C, H, W]: few channels in front of two sides that are too long for channels."""
    _, channels, *sides = images.shape
    return channels in _CHANNELS and min(sides) >= _LEAST_SIDE


def _label_array(path: Path, arrays: Archive, count: int) -> np.ndarray | None:
    name = next((name for name in ("arr_1", "labels") if name in arrays), None)
    if name is None:
        return None
    header = arrays.header(name)
    require(
        np.issubdtype(header.dtype, np.integer) and header.shape == (count,),
        f"data.path is {path}, whose {name} is {header.dtype} of shape {header.shape}; "
        f"it must be integers of shape ({count},), one for each image.",
    )
    labels = arrays[name]
    least, most = int(labels.min()), int(labels.max())
    require(
        least >= 0 and most < _MOST_CLASSES,
        f"data.path is {path}, whose {name} are from {least} to {most}; "
        f"they must be the numbers of classes, from 0 to at most {_MOST_CLASSES - 1}.",
    )
    return labels.astype(np.int32)


def _levels(path: Path, arrays: Archive) -> int:
    value = np.asarray(arrays.get("levels", 256))
    require(
        value.size == 1 and np.issubdtype(value.dtype, np.integer) and 2 <= int(value.item()) <= 256,
        f"data.path is {path}, whose levels are {value}; they must be one integer from 2 to 256.",
    )
    return int(value.item())


def _names(arrays: Archive) -> str:
    names = list(arrays)
    more = len(names) - _NAMED
    return ", ".join([*names[:_NAMED], *([f"and {more} more"] if more > 0 else [])]) or "nothing"
