"""The pixels of a folder's images: read ahead by threads, and which of them are in both splits."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from glowdiff.data.folder.files import File
from glowdiff.pictures.reader import Refused, read_image

_AHEAD = 64  # images decoded ahead of the one being written
_THREADS = 4


def read(path: Path, size: int | None, shape: tuple[int, ...] | None = None) -> np.ndarray | Refused:
    """The image at `path`, or why there is none: an exception would end the whole row of images.

    Args:
      path: the file.
      size: as of `read_image`.
      shape: [H, W, 3] that it must have, if any.
    """
    try:
        pixels = read_image(path, size)
    except Refused as reason:
        return reason
    if shape is not None and pixels.shape != shape:  # it changed meanwhile, or has its EXIF rotation where no header is
        return Refused(f"its size is {pixels.shape[0]}x{pixels.shape[1]}, not that of its header")
    return pixels


def read_all(
    folder: Path, files: Iterable[File], size: int | None, shape: tuple[int, ...]
) -> Iterator[np.ndarray | Refused]:
    """Yield what `read` returns of each file in order, computed by threads at most `_AHEAD` files in advance."""
    with ThreadPoolExecutor(_THREADS) as pool:
        waiting: deque[Future[np.ndarray | Refused]] = deque()
        for file in files:
            waiting.append(pool.submit(read, folder / file.name, size, shape))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class Twins:
    """Images that are in both splits, pixel for pixel, which makes a test easier than it should be."""

    def __init__(self) -> None:
        self._digests: dict[str, list[bytes]] = {"train": [], "test": []}

    def add(self, split: str, pixels: np.ndarray) -> None:
        """Take note of an image, uint8 [H, W, 3], of a split, "train" or "test"."""
        self._digests[split].append(hashlib.blake2b(pixels.tobytes(), digest_size=16).digest())

    def notes(self) -> list[str]:
        """What to say of them; nothing where there are none."""
        known, tested = set(self._digests["train"]), self._digests["test"]
        count = sum(digest in known for digest in tested)
        are = "is" if count == 1 else "are"
        return [f"{count:,} of {len(tested):,} test images {are} among the training images too"] if count else []
