"""Images that are measured: of a file, of a folder, of a data set, or whatever else makes batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from glowdiff.archives import Archive, open_npz
from glowdiff.config.sections import DataConfig
from glowdiff.data import dataset as datasets
from glowdiff.data.batches import eval_batches
from glowdiff.data.dataset import Dataset
from glowdiff.data.sources import Memory, Source
from glowdiff.errors import require, shown
from glowdiff.metrics.features import array_batches
from glowdiff.pictures.files import to_display
from glowdiff.spec import DataSpec

CONTENT = "an .npz file of images (arr_0 uint8 NHWC)"
EXAMPLE = "np.savez(path, images)"
_GRAY, _COLOURS = 1, 3  # channels

Batch = Mapping[str, Any]  # {"image": uint8 [b, H, W, 3], "index", "mask"}, this process's rows


class Captions(NamedTuple):
    """What images were to show, in words."""

    name: str  # in the names of figures
    texts: Sequence[str]  # of each image, in order


class Images(NamedTuple):
    """Any number of images of one size."""

    name: str  # in the names of figures
    about: str  # in words
    number: int
    shape: tuple[int, int]  # height and width
    batches: Callable[[int], Iterator[Batch]]  # (images of a batch) -> all of them, once, the last batch filled up
    identity: Any = None  # JSON that is another one for other images; None: nobody knows
    captions: Captions | None = None


def as_colours(images: np.ndarray, levels: int) -> np.ndarray:
    """Integers 0 ... levels - 1 [N, H, W, 1 or 3] as networks take them: 0 ... 255, gray in three channels."""
    scaled = to_display(images, levels)
    return np.repeat(scaled, _COLOURS, -1) if scaled.shape[-1] == _GRAY else scaled


def check_channels(what: str, channels: int) -> None:
    """Raise `ConfigError` for images that are no pictures."""
    require(channels in (_GRAY, _COLOURS), f"{what} has {channels} channels; pictures are measured, of 1 or 3.")


def of_file(path: Path, mesh: Mesh, key: str, limit: int | None = None, *, captioned: bool = False) -> Images:
    """The images `arr_0` of an .npz file, with `levels` if they are not 256; what else it holds does not matter.

    Args:
      path: of the file.
      mesh: the devices that measure.
      key: the flag that names the file, for messages.
      limit: only so many, the first ones.
      captioned: with `prompts` for captions, as `sample.py` writes them, if there are any.

    Raises:
      ConfigError: the file cannot be read, or holds no such images.
    """
    with open_npz(path, key, CONTENT, EXAMPLE) as arrays:
        require("arr_0" in arrays, f"{key} is {path}, which holds {', '.join(arrays) or 'nothing'}, but no arr_0.")
        header = arrays.header("arr_0")
        require(
            header.dtype == np.uint8 and len(header.shape) == 4 and header.shape[0] > 0,
            f"{key} is {path}, whose arr_0 is {header.dtype} {list(header.shape)}; it must be uint8 [N, H, W, C].",
        )
        check_channels(f"{key} is {path}, whose arr_0", header.shape[-1])
        levels, images = _levels(path, arrays, key), arrays["arr_0"]
        prompts = arrays["prompts"] if captioned and "prompts" in arrays else np.zeros(0)
    require(images.max() < levels, f"{key} is {path}, whose levels are {levels}, but a pixel is {images.max()}.")
    count, height, width, _ = images.shape
    spec = DataSpec(path.stem, (height, width, images.shape[-1]), levels, 0, count)
    status = path.stat()
    found = _of_source(Memory(images), spec, mesh, path.stem, str(path), limit)
    there = prompts.shape == (count,) and prompts.dtype.kind == "U"
    return found._replace(
        identity=[str(path.resolve()), status.st_size, status.st_mtime_ns, found.number],
        captions=Captions(path.stem, [str(prompt) for prompt in prompts[: found.number]]) if there else None,
    )


def of_data(
    config: DataConfig,
    mesh: Mesh,
    key: str,
    *,
    whole: bool = False,
    tested: bool = False,
    captioned: bool = False,
    limit: int | None = None,
    loaded: Dataset | None = None,
) -> Images:
    """The training split of a data set, not augmented; or the test split, or all of its images.

    Args:
      config: names it.
      mesh: the devices that measure.
      key: the flag that names it, for messages.
      whole: the test split too.
      tested: the test split alone.
      captioned: with captions, if it has any.
      limit: only so many, the first ones.
      loaded: the data set, if it is in memory already; None: it is read.

    Raises:
      ConfigError: it cannot be read, or holds no pictures.
    """
    spec, train, test = loaded or datasets.load(config)
    check_channels(f"{key} is {config.path or config.name}, which", spec.shape[-1])
    source, what = (test, "test split") if tested else (train, "training split")
    if whole:
        source, what = _Both(train, test), "all images"
    name = Path(config.path).expanduser().resolve().stem if config.path else config.name.replace("/", "_")
    about = f"{config.path or config.name}, {what}"
    named = name if whole else f"{name}_{'test' if tested else 'train'}"
    images = _of_source(source, spec, mesh, named, about, limit)
    facts = dataclasses.asdict(dataclasses.replace(config, flip=False, shift=0, max_bad=0.0, latents=None))
    captions = list(source.captions or ())[: images.number] if captioned and spec.captions else None
    return images._replace(
        identity=[facts, _place(config), what, images.number],
        captions=Captions(images.name, captions) if captions else None,
    )


def _of_source(source: Source, spec: DataSpec, mesh: Mesh, name: str, about: str, limit: int | None) -> Images:
    count = len(source) if limit is None else limit
    require(count <= len(source), f"{count:,} images of {about} are asked for, which holds {len(source):,}.")

    def batches(size: int) -> Iterator[Batch]:
        if isinstance(source, Memory):
            found = array_batches(size, mesh, image=source.images[:count])
        else:
            shares = {"process_index": jax.process_index(), "process_count": jax.process_count()}
            found = eval_batches(Dataset(spec, source, source), batch=size, limit=count, **shares)
        for batch in found:
            yield {**batch, "image": as_colours(batch["image"], spec.levels)}

    return Images(name, about, count, spec.shape[:2], batches)


class Pixels(Sequence[np.ndarray]):
    """The images of a split alone, read as they are asked for."""

    def __init__(self, source: Source) -> None:
        """Of any split."""
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: Any) -> Any:
        return self._source[int(index)]["image"]


class _Both:
    """Two splits, one after the other."""

    def __init__(self, first: Source, second: Source) -> None:
        self._first, self._second = first, second

    @property
    def captions(self) -> list[str]:
        return [*(self._first.captions or ()), *(self._second.captions or ())]

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    def __getitem__(self, index: int) -> Any:
        behind = index - len(self._first)
        return self._first[index] if behind < 0 else self._second[behind]

    def __repr__(self) -> str:
        return f"_Both({self._first!r}, {self._second!r})"


def _levels(path: Path, arrays: Archive, key: str) -> int:
    value = np.asarray(arrays.get("levels", 256))
    require(
        value.shape == () and value.dtype.kind in "iu" and 2 <= int(value) <= 256,
        f"{key} is {path}, whose levels are {shown(value)}; they must be one whole number from 2 to 256.",
    )
    return int(value)


def _place(config: DataConfig) -> list[Any]:
    """What changes when the files of a data set do."""
    if config.name == "arrays":
        status = Path(config.path or "").expanduser().stat()
        return [status.st_size, status.st_mtime_ns]
    return [str(datasets.prepare(config))]
