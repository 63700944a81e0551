"""Any data set of TensorFlow Datasets, by name; read without TensorFlow once it has been prepared."""

from __future__ import annotations

import functools
import importlib.util
import os
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core.registered import DatasetNotFoundError

from glowdiff.config.sections import DataConfig
from glowdiff.data.sets.table import OWN
from glowdiff.data.sources import Example, Records, Source, in_memory
from glowdiff.data.store import data_dir, locked
from glowdiff.errors import ConfigError, likely, require
from glowdiff.pictures.reader import centre_square
from glowdiff.spec import DataSpec


def read(config: DataConfig) -> tuple[DataSpec, Source, Source]:
    """The facts, the training and the test split of the TFDS data set `config.name`.

    Raises:
      ConfigError: TFDS does not know the name, the set is not prepared and TensorFlow is missing, it has no
        images, or not the splits asked for.
    """
    builder = _prepared(config)
    features = builder.info.features
    shape = _shape(config, features)
    label = features["label"] if "label" in features else None  # noqa: SIM401 (it has no get)
    classes = tuple(label.names) if isinstance(label, tfds.features.ClassLabel) else ()
    decode = functools.partial(_decode, size=config.size, labelled=bool(classes))
    train, test = (
        in_memory(Records(_split(builder, key, split), decode), shape)
        for key, split in (("data.train_split", config.train_split), ("data.test_split", config.test_split))
    )
    return DataSpec(config.name, shape, 256, len(train), len(test), classes), train, test


def prepare(config: DataConfig) -> Path:
    """The directory of the prepared set; if there is none, download and prepare it, which needs TensorFlow.

    Raises:
      ConfigError: as for `read`, and when the download fails.
    """
    return Path(os.fspath(_prepared(config).data_path))


def is_prepared(config: DataConfig) -> bool:
    """Whether the set of that name can be read without downloading it.

    Raises:
      ConfigError: TFDS does not know the name.
    """
    return _builder(config).is_prepared()


def _prepared(config: DataConfig) -> Any:
    """The TFDS builder of a set that is ready to be read."""
    builder = _builder(config)
    if not builder.is_prepared():
        if not _has_tensorflow():
            raise ConfigError(_needs_tensorflow(config))
        try:
            root = data_dir(config.dir)
            root.mkdir(parents=True, exist_ok=True)
            with locked(root / f".{builder.name}.lock"):
                if not _builder(config).is_prepared():  # another process may have done it while we waited
                    builder.download_and_prepare()  # into place by a rename, by TFDS itself
            return _builder(config)
        except Exception as error:
            raise ConfigError(
                f"data.name is {config.name!r}, which could not be prepared ({type(error).__name__}: {error})."
            ) from error
    return builder


def command(config: DataConfig) -> str:
    """The command that prepares the data set of `config`."""
    words = ["glowdiff", "prepare", config.name]
    return shlex.join([*words, "--dir", config.dir] if config.dir else words)


def _builder(config: DataConfig) -> Any:
    try:
        return tfds.builder(
            config.name, data_dir=os.fspath(data_dir(config.dir)), try_gcs=False, file_format="array_record"
        )
    except DatasetNotFoundError as error:
        raise ConfigError(_unknown(config.name)) from error
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and not _has_tensorflow():  # some builders import it at once
            raise ConfigError(_needs_tensorflow(config)) from error
        if "file format" in str(error).lower():
            raise ConfigError(
                f"data.name is {config.name!r}, which is prepared in {data_dir(config.dir)} in a format that only "
                f"TensorFlow reads ({error}). Set another data.dir, and prepare it again as array_record:\n"
                f"  {command(config)}"
            ) from error
        raise ConfigError(
            f"data.name is {config.name!r}, which TFDS cannot set up ({type(error).__name__}: {error})."
        ) from error


def _needs_tensorflow(config: DataConfig) -> str:
    return (
        f"data.name is {config.name!r}, which is not prepared in {data_dir(config.dir)}, and preparing it "
        f"needs TensorFlow (reading it will not):\n  pip install 'glowdiff[tfds]'\n  {command(config)}"
    )


def _unknown(name: str) -> str:
    known = [*OWN, *tfds.list_builders(with_community_datasets=False)]
    close = likely(name.partition("/")[0].partition(":")[0].lower(), known, most=3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"it must be {', '.join(OWN)} or a TFDS name."
    return f"data.name is {name!r}, which is no data set: {hint}"


def _shape(config: DataConfig, features: Any) -> tuple[int, int, int]:
    """Height, width and channels of the images as they will be read."""
    require(
        "image" in features and isinstance(features["image"], tfds.features.Image),
        f"data.name is {config.name!r}, which has no feature called image to learn from; "
        f"it has {', '.join(sorted(features))}.",
    )
    image = features["image"]
    require(
        np.dtype(image.np_dtype) == np.uint8,
        f"data.name is {config.name!r}, whose images are {np.dtype(image.np_dtype)}; only uint8 is read.",
    )
    height, width, channels = image.shape
    if config.size is not None:
        height = width = config.size
    if height is None or width is None:
        raise ConfigError(
            f"data.name is {config.name!r}, whose images differ in size; set data.size, for example data.size=64, "
            "to cut their centre squares and resize them to it."
        )
    require(channels in (1, 3), f"data.name is {config.name!r}, whose images have {channels} channels, not 1 or 3.")
    return height, width, channels


def _split(builder: Any, key: str, split: str) -> Any:
    try:
        return builder.as_data_source(split=split)
    except Exception as error:
        available = ", ".join(builder.info.splits) or "none"
        raise ConfigError(
            f"{key} is {split!r}, which {builder.name} does not have ({type(error).__name__}); its splits are "
            f"{available}, and parts of them such as 'train[:90%]'."
        ) from error


def _decode(record: dict[str, Any], *, size: int | None, labelled: bool) -> Example:
    """The example in TFDS's `record`, its image cut and resized to `size`."""
    image = np.asarray(record["image"])
    if size is not None and image.shape[:2] != (size, size):
        gray = image.shape[-1] == 1
        resized = np.asarray(centre_square(Image.fromarray(image[..., 0] if gray else image), size))
        image = resized[..., None] if gray else resized
    return {"image": image, "cond": {"label": np.asarray(record["label"], np.int32)} if labelled else {}}


def _has_tensorflow() -> bool:
    return importlib.util.find_spec("tensorflow") is not None
