"""Random access to a split's examples, from memory or from disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NotRequired, Protocol, TypedDict

import numpy as np

MEMORY_LIMIT = 512 * 2**20  # bytes of decoded pixels up to which a split is held in memory
_CHUNK = 1024  # examples read at once; reading singly takes twice as long


class Example(TypedDict):
    """One image, its conditions, and what else the set knows of it; batches hold the first two only."""

    image: np.ndarray  # uint8 [H, W, C]
    cond: dict[str, np.ndarray]  # "label": int32 scalar, of sets with labels; see captions.py for "tokens" and "mask"
    attributes: NotRequired[np.ndarray]  # bool [A], in the order of the spec's attributes
    caption: NotRequired[str]


class Source(Protocol):
    """A split: a `grain.sources.RandomAccessDataSource` of `Example`s."""

    @property
    def captions(self) -> Sequence[str] | None:
        """Every example's caption, in order; None: the set has none. May read all of the split, but no image."""
        ...

    def __len__(self) -> int:
        """The number of examples."""
        ...

    def __getitem__(self, index: int) -> Any:
        """The `Example` at `index`."""
        ...


class Memory:
    """A split held in memory."""

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray | None = None,
        attributes: np.ndarray | None = None,
        captions: Sequence[str] | None = None,
    ) -> None:
        """Keep `images`, uint8 [N, H, W, C], `labels`, int32 [N], `attributes`, bool [N, A], and N `captions`.

        None: the set has no such thing.
        """
        self.images = images
        self.labels = labels
        self.attributes = attributes
        self.captions = captions

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Example:
        example: Example = {
            "image": self.images[index],
            "cond": {} if self.labels is None else {"label": np.asarray(self.labels[index])},
        }
        if self.attributes is not None:
            example["attributes"] = self.attributes[index]
        if self.captions is not None:
            example["caption"] = self.captions[index]
        return example

    def __repr__(self) -> str:
        return f"Memory({len(self)} images of {self.images.shape[1:]})"


class Records:
    """A split on disk, decoded at each access."""

    def __init__(
        self, records: Sequence[Any], decode: Callable[[Any], Example], caption: Callable[[Any], str] | None = None
    ) -> None:
        """Read `records` (of TFDS), each turned into an `Example` by `decode`; `caption` finds the caption in one."""
        self.records = records
        self.decode = decode
        self._caption = caption

    @property
    def captions(self) -> list[str] | None:
        """Every example's caption; all of the split is read for it."""
        if self._caption is None:
            return None
        return [self._caption(record) for _, record in _all(self.records)]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Example:
        return self.decode(self.records[index])

    def __repr__(self) -> str:
        return f"Records({len(self)} images)"


class Rows:
    """Chosen examples of other splits."""

    def __init__(self, parts: Sequence[tuple[Source, np.ndarray]], captions: Sequence[str]) -> None:
        """Take of each part's split the examples at its indices, int [n], one part after the other.

        `captions` are those of all chosen examples.
        """
        self._sources = [source for source, _ in parts]
        self._part = np.repeat(np.arange(len(parts)), [len(rows) for _, rows in parts])
        self._row = np.concatenate([rows for _, rows in parts])
        self.captions = captions

    def __len__(self) -> int:
        return len(self._row)

    def __getitem__(self, index: int) -> Example:
        return self._sources[self._part[index]][int(self._row[index])]

    def __repr__(self) -> str:
        return f"Rows({len(self)} of {', '.join(map(repr, self._sources))})"


def in_memory(source: Records, shape: tuple[int, int, int]) -> Source:
    """`source` decoded into memory where it fits in `MEMORY_LIMIT`, else `source` itself.

    Decoding takes 0.1 to 0.5 ms an image: done for each batch anew it would hold up a fast training step.

    Args:
      source: the split, whose images all have `shape`.
      shape: height, width, channels.
    """
    count = len(source)
    if count * int(np.prod(shape)) > MEMORY_LIMIT:
        return source
    images = np.empty((count, *shape), np.uint8)
    labels: list[np.ndarray] = []
    attributes: list[np.ndarray] = []
    captions: list[str] = []
    for index, record in _all(source.records):
        example = source.decode(record)
        images[index] = example["image"]
        labels.extend(example["cond"].values())
        if "attributes" in example:
            attributes.append(example["attributes"])
        if "caption" in example:
            captions.append(example["caption"])
    return Memory(
        images,
        np.asarray(labels, np.int32) if labels else None,
        np.stack(attributes) if attributes else None,
        captions or None,
    )


def _all(records: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    """Yield all `records` with their indices, a chunk read at a time."""
    for start in range(0, len(records), _CHUNK):
        keys = list(range(start, min(start + _CHUNK, len(records))))
        yield from zip(keys, _read(records, keys), strict=True)


def _read(records: Sequence[Any], keys: list[int]) -> list[Any]:
    """`records` at `keys`, at once where the source can."""
    many = getattr(records, "__getitems__", None)
    return list(many(keys)) if many else [records[key] for key in keys]
