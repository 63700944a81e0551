"""Sets of our own on disk: a TFDS builder that writes array_record files, and how they are read back."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from glowdiff.data.sources import Example, Records, Source, in_memory
from glowdiff.errors import ConfigError
from glowdiff.spec import DataSpec, spec_from_json, spec_to_json

SPEC_FILE = "spec.json"  # the DataSpec, beside the array_record files


class Item(NamedTuple):
    """One example to be written."""

    image: np.ndarray  # uint8 [H, W, C], C = 1 or 3
    label: int | None = None
    attributes: np.ndarray | None = None  # bool [A]
    caption: str | None = None


class _Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Writes given examples, in the given order."""

    name = "glowdiff"
    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, spec: DataSpec, splits: Mapping[str, Iterable[Item]], **kwargs: Any) -> None:
        self._spec = spec
        self._splits = splits
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        features: dict[str, Any] = {"image": tfds.features.Image(shape=self._spec.shape, encoding_format="png")}
        if self._spec.classes:
            features["label"] = tfds.features.ClassLabel(num_classes=len(self._spec.classes))
        if self._spec.attributes:
            features["attributes"] = tfds.features.Tensor(shape=(len(self._spec.attributes),), dtype=np.bool_)
        if self._spec.captions:
            features["caption"] = tfds.features.Text()
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{self._spec.name}, prepared by glowdiff",
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,  # Grain shuffles; the order on disk is that of the source
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager  # nothing is downloaded
        return {split: self._generate_examples(items) for split, items in self._splits.items()}

    def _generate_examples(self, items: Iterable[Item]) -> Iterator[tuple[int, dict[str, Any]]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        for index, item in enumerate(items):
            # A PIL image, because TFDS would encode an array with TensorFlow.
            pixels = item.image[..., 0] if item.image.shape[-1] == 1 else item.image
            example: dict[str, Any] = {"image": Image.fromarray(pixels)}
            if self._spec.classes:
                example["label"] = item.label
            if self._spec.attributes:
                example["attributes"] = item.attributes
            if self._spec.captions:
                example["caption"] = item.caption
            yield index, example


def write(scratch: Path, spec: DataSpec, splits: Mapping[str, Iterable[Item]]) -> Path:
    """Write a set under `scratch` and return its directory.

    Args:
      scratch: an empty directory.
      spec: the set's facts; its sizes are replaced by the numbers of items written.
      splits: "train" and "test"; each is consumed once.
    """
    with _quiet():
        builder = _Builder(spec=spec, splits=splits, data_dir=os.fspath(scratch), file_format="array_record")
        builder.download_and_prepare()
    sizes = {split: builder.info.splits[split].num_examples for split in ("train", "test")}
    facts = spec_to_json(spec) | {"train_size": sizes["train"], "test_size": sizes["test"]}
    directory = Path(builder.data_dir)
    (directory / SPEC_FILE).write_text(json.dumps(facts, indent=2), encoding="utf-8")
    return directory


def read(directory: Path) -> tuple[DataSpec, Source, Source]:
    """The facts, the training and the test split of the set that `write` put into `directory`.

    Raises:
      ConfigError: the files are damaged.
    """
    try:
        spec = spec_from_json(json.loads((directory / SPEC_FILE).read_text(encoding="utf-8")))
        builder: Any = tfds.builder_from_directory(directory)
        undecoded = {"image": tfds.decode.SkipDecoding()}  # pyright: ignore[reportCallIssue]  # by _decode, silently
        caption = _caption if spec.captions else None
        train, test = (
            in_memory(Records(builder.as_data_source(split=split, decoders=undecoded), _decode, caption), spec.shape)
            for split in ("train", "test")
        )
    except Exception as error:  # whatever TFDS, array_record or Pillow raise for damaged files
        raise ConfigError(
            f"the prepared data set in {directory} is damaged ({type(error).__name__}: {error}). "
            "Delete that folder; it will be prepared again."
        ) from error
    return spec, train, test


def _decode(record: dict[str, Any]) -> Example:
    """The example in `record`, whose image is still a PNG."""
    with Image.open(io.BytesIO(record["image"]), formats=["PNG"]) as picture:
        pixels = np.asarray(picture)
    image = pixels[..., None] if pixels.ndim == 2 else pixels
    cond = {"label": np.asarray(record["label"], np.int32)} if "label" in record else {}
    example: Example = {"image": image, "cond": cond}
    if "attributes" in record:
        example["attributes"] = np.asarray(record["attributes"], bool)
    if "caption" in record:
        example["caption"] = _caption(record)
    return example


def _caption(record: dict[str, Any]) -> str:
    return record["caption"].decode("utf-8")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the notices and progress bars of TFDS, which speak of downloads; our own set says what it does."""
    tfds.disable_progress_bar()
    try:
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
    finally:
        tfds.enable_progress_bar()
