"""Encoding a training set once: `glowdiff prepare latents`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from glowdiff.config.sections import DataConfig
from glowdiff.data import dataset as datasets
from glowdiff.data import latents
from glowdiff.data.dataset import Dataset
from glowdiff.data.latents import Header
from glowdiff.data.progress import counted
from glowdiff.data.sources import Source
from glowdiff.data.store import data_dir
from glowdiff.errors import ConfigError, require, require_choice
from glowdiff.sharding import batch_sharding, put_batch
from glowdiff.trained import Trained

DTYPES = ("float16", "float32")


def prepare(
    codec: Trained,
    config: DataConfig,
    folder: Path | None = None,
    *,
    mirrored: bool = False,
    dtype: str = "float16",
    batch: int = 64,
) -> Path:
    """Encode all training images, over all devices, and keep mean and log variance of their latents.

    Training draws from them as it would from the encoder's. Every process must call it, and sees the folder; where it
    was interrupted, the same call goes on.

    Args:
      codec: the autoencoder.
      config: the data; `flip`, `shift` and `latents` of it are not looked at.
      folder: where they go; None: to a folder beside prepared data sets.
      mirrored: mirrored images too, of which training with `data.flip` takes half.
      dtype: in which they are kept, one of `DTYPES`.
      batch: images at a time.

    Returns:
      The folder, `data.latents` of training.

    Raises:
      ConfigError: the model is no autoencoder, or one of other images; or the folder holds something else.
    """
    require_choice("dtype", dtype, DTYPES)
    method, name = codec.method.codec, codec.config.method
    if method is None or method.posterior is None or method.draw is None:
        raise ConfigError(f"--codec is a model of method {name}, which is no autoencoder.")
    dataset = datasets.load(config)
    kept = _shape_kept(codec, dataset.spec.shape)
    number, identity = len(dataset.train), digest(codec.variables)
    wanted = Header(latents.facts(config), number, kept, dtype, mirrored, identity)
    folder = folder or data_dir(config.dir) / "latents" / f"{config.name.replace('/', '_')}-{identity[:12]}"
    done = _done(folder, wanted)
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("latents")  # all have looked before the first one writes
    size = -(-batch // codec.mesh.size) * codec.mesh.size
    encode = jax.jit(method.posterior, out_shardings=batch_sharding(codec.mesh))
    store = None
    if jax.process_index() == 0:
        labels = bool(dataset.spec.classes)
        store = latents.Store(folder, wanted._replace(done=done), labels=labels, captions=dataset.train.captions)
    pieces = _pieces(dataset, size, done, mirrored)
    for piece in counted(pieces, f"encoding, in batches of {size}", -(-(wanted.total - done) // size)):
        rows = _whole(encode(codec.variables, put_batch(piece.images, codec.mesh)))[: piece.number].astype(dtype)
        labels = None if piece.labels is None else _all_rows(piece.labels)[: piece.number]
        require(
            bool(np.isfinite(rows).all()),
            f"latents of image {piece.start} or one of the {piece.number - 1} behind it are not finite in {dtype}.",
        )
        if store is not None:
            store.write(piece.copy, piece.start, rows, labels)
    return folder


def _shape_kept(codec: Trained, images: tuple[int, int, int]) -> tuple[int, int, int]:
    """The shape of what is kept of one image of the shape `images`.

    Raises:
      ConfigError: the autoencoder was trained on other images.
    """
    assert codec.method.codec is not None
    posterior, own = codec.method.codec.posterior, codec.spec.shape
    assert posterior is not None
    factor = own[0] // codec.method.codec.shape[0]
    require(
        images[-1] == own[-1] and images[0] % factor == 0 and images[1] % factor == 0,
        f"--codec is an autoencoder of images of {'x'.join(map(str, own))}, whose latents are {factor} times smaller; "
        f"it cannot encode images of {'x'.join(map(str, images))}.",
    )
    batch = jax.ShapeDtypeStruct((1, *images), np.uint8)
    _, height, width, channels = jax.eval_shape(posterior, codec.variables, batch).shape
    return height, width, channels


def digest(variables: Any) -> str:
    """Hexadecimal, another one for other variables."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(variables):
        found.update(np.asarray(leaf).tobytes())
    return found.hexdigest()


class _Piece(NamedTuple):
    """Images that are encoded at once."""

    copy: int  # 1: mirrored
    start: int  # the first one's number
    number: int  # of images; rows behind only fill the batch
    images: np.ndarray  # this process's rows,
    labels: np.ndarray | None  # and their labels


class _Behind:
    """The examples of a split from a number on."""

    captions = None

    def __init__(self, source: Source, start: int) -> None:
        self._source, self._start = source, start

    def __len__(self) -> int:
        return len(self._source) - self._start

    def __getitem__(self, index: int) -> Any:
        return self._source[self._start + index]

    def __repr__(self) -> str:
        return f"_Behind({self._source!r}, {self._start})"


def _pieces(dataset: Dataset, size: int, done: int, mirrored: bool) -> Iterator[_Piece]:
    """All that is left to encode, plain images first."""
    from glowdiff.data.batches import eval_batches  # Grain: only here, where images are read

    number = len(dataset.train)
    share = {"process_index": jax.process_index(), "process_count": jax.process_count()}
    for copy in range(1 + mirrored):
        start = min(max(done - copy * number, 0), number)
        rest = _Behind(dataset.train, start)
        if not len(rest):
            continue
        for batch in eval_batches(Dataset(dataset.spec, rest, rest), batch=size, **share):
            images = batch["image"][:, :, ::-1] if copy else batch["image"]
            yield _Piece(copy, start, min(size, number - start), images, batch["cond"].get("label"))
            start += size


def _done(folder: Path, wanted: Header) -> int:
    """How many images are encoded in a folder already.

    Raises:
      ConfigError: it holds something else.
    """
    if (folder / latents.FILE).exists():
        held = latents.read_header(folder, "--out")
        different = [key for key in Header._fields if key != "done" and getattr(held, key) != getattr(wanted, key)]
        require(
            not different,
            f"{folder} holds other latents: they differ in {', '.join(different)}. Give another folder (--out).",
        )
        return held.done
    require(
        not folder.exists() or (folder.is_dir() and not any(folder.iterdir())),
        f"{folder} is not empty, and holds no latents; give another folder (--out).",
    )
    return 0


def _whole(array: jax.Array) -> np.ndarray:
    """All rows of a batch on the devices."""
    if array.is_fully_addressable:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def _all_rows(rows: np.ndarray) -> np.ndarray:
    """All rows of a batch of which each process has some."""
    return rows if jax.process_count() == 1 else np.asarray(multihost_utils.process_allgather(rows, tiled=True))
