"""Captions in a user's folder: `metadata.csv`, `metadata.jsonl`, or a text file beside each image.

The metadata files name each image (`file_name`, relative to the folder that they are in) and its caption (`text`, or
where there is no such column `caption`). A text file has the name of its image but for the ending, in the same folder.
Names are compared composed (Unicode's NFC), as some systems write é as one character and others as two.
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from glowdiff.data.folder.files import METADATA, TEXT, File, composed, is_picture, is_text
from glowdiff.data.folder.metadata import Row, read_metadata, shown
from glowdiff.data.progress import counted
from glowdiff.errors import require
from glowdiff.files import read_text


class Captions(NamedTuple):
    """What a folder says of its images in words."""

    files: set[str]  # names of the files that hold captions; none: the folder has no captions
    words: dict[str, str]  # captions by name of image, in one line
    refused: dict[str, str]  # why the caption of an image cannot be used, by its name
    notes: list[str]  # what the user should know


class _Caption(NamedTuple):
    image: str
    words: str  # empty: none
    said_by: str  # name of the file
    fault: str = ""  # why there are no words


def read_captions(folder: Path, files: Sequence[File]) -> Captions:
    """The captions of the images among the `files` of `folder`; none when no file holds any.

    Raises:
      ConfigError: metadata cannot be read, none of their rows names a file, or one image has two captions.
    """
    names = {composed(file.name): file.name for file in files} | {file.name: file.name for file in files}
    metadata = [file.name for file in files if posixpath.basename(file.name) in METADATA]
    texts = _texts(files)
    captions = Captions({*metadata, *texts}, {}, {}, [])
    said_by: dict[str, str] = {}
    for caption in _all(folder, names, metadata, texts, captions.notes):
        image, other = caption.image, said_by.setdefault(caption.image, caption.said_by)
        require(
            other == caption.said_by or captions.words.get(image, "") == caption.words,
            f"data.path is {folder}, where {image} has two captions, one in {other} and one in {caption.said_by}; "
            "remove one of them.",
        )
        if caption.words:
            captions.words[image] = caption.words
        else:
            captions.refused[image] = caption.fault or f"its caption in {caption.said_by} is empty"
    return captions


def _all(
    folder: Path, names: dict[str, str], metadata: list[str], texts: dict[str, list[str]], notes: list[str]
) -> Iterator[_Caption]:
    """Yield every caption of an image that is there; of rows for others, a note is left in `notes`."""

    def named(row: Row) -> str | None:
        return names.get(row.file_name) or names.get(composed(row.file_name))

    for name in metadata:
        rows = read_metadata(folder, name)
        lost = [row for row in rows if named(row) is None]
        if lost:
            notes.append(_lost(folder, name, rows, lost))
        yield from (_caption(image, row.text, name) for row in rows if (image := named(row)) is not None)
    for name, images in counted(texts.items(), "reading captions", len(texts)):
        words, fault = _read_text(folder, name)
        yield from (_Caption(image, words, name, fault) for image in images)


def _caption(image: str, text: str, name: str) -> _Caption:
    """The caption of an image that the file `name` holds."""
    if not is_text(text):
        return _Caption(image, "", name, f"its caption in {name} holds half a character (a lone surrogate)")
    return _Caption(image, _plain(text), name)


def _texts(files: Sequence[File]) -> dict[str, list[str]]:
    """The images beside each text file that is named like images are, in the order of names."""
    images: dict[str, list[str]] = defaultdict(list)
    texts: dict[str, str] = {}
    for name in sorted(file.name for file in files):
        stem, ending = posixpath.splitext(composed(name))
        if is_picture(name):
            images[stem].append(name)
        elif ending.lower() == TEXT:
            texts[name] = stem
    return {name: images[stem] for name, stem in texts.items() if stem in images}


def _read_text(folder: Path, name: str) -> tuple[str, str]:
    """The caption in a text file, and why there is none."""
    try:
        return _plain(read_text(folder / name)), ""
    except UnicodeDecodeError:
        return "", f"its caption, {name}, is not UTF-8 text"
    except OSError as error:
        return "", f"its caption, {name}, cannot be read ({error.strerror or type(error).__name__})"


def _lost(folder: Path, name: str, rows: list[Row], lost: list[Row]) -> str:
    """What to say of the `lost` rows, those of metadata that name no file.

    Raises:
      ConfigError: none of the `rows` names one.
    """
    first = shown(lost[0].file_name)
    require(
        len(lost) < len(rows),
        f"data.path is {folder}, whose {name} names no file that is there; there is no {first}, for example. "
        "Names are relative to the folder of the metadata.",
    )
    what = "row names a file that is" if len(lost) == 1 else "rows name files that are"
    return f"{len(lost):,} {what} not there ({name}, for example {first})"


def _plain(text: str) -> str:
    """`text` in one line, without spaces that nobody sees."""
    return " ".join(text.split())
