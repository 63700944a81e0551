"""A folder's captions: where they are found, what is refused without one, and what is wrong with metadata."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glowdiff.config.sections import DataConfig
from glowdiff.data.batches import train_batches
from glowdiff.data.captions import train_captions, with_tokens
from glowdiff.data.dataset import Dataset, load, prepare
from glowdiff.errors import ConfigError
from tests.data.conftest import save_pictures
from tests.data.words import WordLengths

NAMES = [f"{number:03d}.png" for number in range(6)]


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder of six images, without captions yet."""
    save_pictures(tmp_path / "set", len(NAMES))
    return tmp_path / "set"


def config_of(folder: Path, **changes) -> DataConfig:
    return DataConfig(name="folder", path=str(folder), dir=str(folder.parent / "prepared"), **changes)


def report_of(config: DataConfig) -> dict:
    return json.loads((prepare(config) / "report.json").read_text())


def captions_of(dataset: Dataset, folder: Path) -> dict[str, str]:
    """The captions by the names of their images, which are recognised by their pixels."""
    names = {np.asarray(Image.open(file)).tobytes(): file for file in folder.rglob("*.png")}
    examples = [split[row] for split in (dataset.train, dataset.test) for row in range(len(split))]
    return {
        names[example["image"].tobytes()].relative_to(folder).as_posix(): example["caption"] for example in examples
    }


def write_csv(path: Path, rows: list[str], header: str = "file_name,text") -> None:
    path.write_text("\n".join([header, *rows]), encoding="utf-8")


def write_jsonl(path: Path, rows: list[dict]) -> None:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


EXPECTED = {name: f"pïcture, {name[:3]}" for name in NAMES}


def by_csv(folder: Path) -> None:
    write_csv(
        folder / "metadata.csv", [f'{name}, "pïcture,\n  {name[:3]} ",x' for name in NAMES], "file_name,text,other"
    )


def by_csv_of_a_spreadsheet(folder: Path) -> None:
    by_csv(folder)
    content = (folder / "metadata.csv").read_text(encoding="utf-8")
    (folder / "metadata.csv").write_bytes(content.replace("text", "caption").encode("utf-8-sig"))


def by_jsonl(folder: Path) -> None:
    rows = [{"file_name": f"./{name}", "caption": f"pïcture,\t{name[:3]}", "more": [1]} for name in NAMES]
    write_jsonl(folder / "metadata.jsonl", rows)


def by_texts(folder: Path) -> None:
    for name in NAMES:
        (folder / name).with_suffix(".txt").write_text(f"  pïcture,\n{name[:3]}\n", encoding="utf-8")


def by_some_of_each(folder: Path) -> None:
    by_texts(folder)
    (folder / "003.txt").unlink()
    write_csv(folder / "metadata.csv", ['003.png,"pïcture, 003"', '004.png,"pïcture, 004"'])


@pytest.mark.parametrize("write", [by_csv, by_csv_of_a_spreadsheet, by_jsonl, by_texts, by_some_of_each])
def test_captions_are_found_in_one_line(folder, write, capsys):
    write(folder)
    dataset = load(config_of(folder))
    assert dataset.spec.captions
    assert dataset.spec.classes == ()
    assert captions_of(dataset, folder) == EXPECTED
    report = report_of(config_of(folder))
    assert (report["files"], report["refused"], report["notes"]) == (len(NAMES), {}, [])
    assert capsys.readouterr().err == ""


def test_without_captions_there_are_none(folder):
    (folder / "notes.txt").write_text("beside no image")
    dataset = load(config_of(folder))
    assert not dataset.spec.captions
    assert "caption" not in dataset.train[0]
    assert set(report_of(config_of(folder))["refused"]) == {"notes.txt"}
    with pytest.raises(ConfigError, match=r"'folder', whose images have no captions"):
        train_captions(dataset)


@pytest.mark.parametrize("where", ["", "train", "train/cat"])
def test_names_are_relative_to_the_folder_of_the_metadata_and_classes_stay(tmp_path, where):
    folder = tmp_path / "set"
    for seed, place in enumerate(("train/cat", "train/dog", "test/cat", "test/dog")):
        save_pictures(folder / place, 2, seed=seed)
    images = [file.relative_to(folder).as_posix() for file in sorted(folder.rglob("*.png"))]
    inside = [name for name in images if name.startswith(where)]
    write_csv(folder / where / "metadata.csv", [f"{os.path.relpath(name, where or '.')},one {name}" for name in inside])
    for name in set(images) - set(inside):
        (folder / name).with_suffix(".txt").write_text(f"one {name}")
    dataset = load(config_of(folder))
    assert (dataset.spec.classes, dataset.spec.train_size, dataset.spec.test_size) == (("cat", "dog"), 4, 4)
    assert captions_of(dataset, folder) == {name: f"one {name}" for name in images}
    for row in range(4):
        assert dataset.spec.classes[dataset.train[row]["cond"]["label"]] in dataset.train[row]["caption"]


def test_images_without_a_caption_are_refused_while_others_have_one(folder, capsys):
    by_texts(folder)
    (folder / "000.txt").unlink()
    (folder / "001.txt").write_text(" \n")
    (folder / "002.txt").write_bytes("naïve".encode("latin-1"))
    (folder / "005.png").write_bytes(b"damaged")  # its caption is no image that is refused
    dataset = load(config_of(folder, max_bad=0.7))
    used = [*(dataset.train.captions or ()), *(dataset.test.captions or ())]
    assert sorted(used) == [EXPECTED["003.png"], EXPECTED["004.png"]]
    report = report_of(config_of(folder, max_bad=0.7))
    assert report["files"] == 6
    assert set(report["refused"]) == {"000.png", "001.png", "002.png", "005.png"}
    shown = capsys.readouterr().err
    assert "000.png: it has no caption, while others have one" in shown
    assert "001.png: its caption in 001.txt is empty" in shown
    assert "002.png: its caption, 002.txt, is not UTF-8 text" in shown


def test_rows_that_name_no_file_are_counted_in_words(folder, capsys):
    write_csv(folder / "metadata.csv", [*(f"{name},a picture" for name in NAMES), "gone.png,gone", "../x.png,outside"])
    assert load(config_of(folder)).spec.captions
    note = "2 rows name files that are not there (metadata.csv, for example 'gone.png')"
    assert f"{folder}: {note}" in capsys.readouterr().err
    assert report_of(config_of(folder))["notes"] == [note]


def test_too_few_captions_are_an_error_that_shows_what_the_metadata_name(folder):
    write_csv(folder / "metadata.csv", ["000.png,one", "oo1.png,two"])
    with pytest.raises(ConfigError, match=r"(?s)5 of its 6 files.*001\.png: it has no caption.*'oo1\.png'"):
        load(config_of(folder))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metadata.csv", b"file,text\n000.png,one", r"metadata\.csv has the columns file, text; for captions it needs"),
        ("metadata.csv", b"file_name,label\n000.png,1", "has the columns file_name, label; .* give it another name"),
        ("metadata.csv", b"file_name,text", "has no rows"),
        ("metadata.csv", b"", "has no rows"),
        ("metadata.csv", "file_name,text\n000.png,é".encode("latin-1"), r"metadata\.csv is not UTF-8 text"),
        ("metadata.csv", b"file_name,text\na.png,x\n000.png,x\n./a.png,y", r"names 'a\.png' twice, in lines 2 and 4"),
        ("metadata.csv", b"file_name,text\n000.png,a dog, running", "more fields in line 2 .* must be in quotes"),
        ("metadata.csv", b'file_name,text\n000.png,"open', "cannot be read as CSV after line 1"),
        ("metadata.csv", b"file_name,text\n,a dog", "no file_name in line 2"),
        ("metadata.csv", b"file_name,text\nimages/000.png,a dog", r"there is no 'images/000\.png', for example"),
        ("metadata.jsonl", b'{"file_name": "000.png", "words": "a"}', "has the keys file_name, words; "),
        ("metadata.jsonl", b'{"file_name": "000.png", "text": "a"}\n\nx', "no JSON object in line 3"),
        ("metadata.jsonl", b'{"file_name": "000.png", "text": "a"}\n[]', "no JSON object in line 2"),
        ("metadata.jsonl", b'{"file_name": "000.png", "text": 5}', "text 5 in line 1; it must be a string"),
        ("metadata.jsonl", b"\xff", "not UTF-8"),
    ],
)
def test_metadata_that_cannot_be_used(folder, name, content, message):
    (folder / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load(config_of(folder))


def test_one_image_has_one_caption(folder):
    by_csv(folder)
    by_texts(folder)
    load(config_of(folder))  # the same ones
    (folder / "004.txt").write_text("another")
    with pytest.raises(ConfigError, match=r"004\.png has two captions, one in metadata\.csv and one in 004\.txt"):
        load(config_of(folder))


def test_changed_captions_are_prepared_again(folder):
    by_texts(folder)
    assert captions_of(load(config_of(folder)), folder) == EXPECTED
    (folder / "002.txt").write_text("something else")
    assert captions_of(load(config_of(folder)), folder) == EXPECTED | {"002.png": "something else"}
    (folder / "002.txt").unlink()
    assert load(config_of(folder)).spec.train_size + load(config_of(folder)).spec.test_size == 5


def test_a_captioned_folder_can_be_trained_on_and_captions_held_out(folder):
    by_jsonl(folder)
    held = train_captions(load(config_of(folder)))[0]
    config = config_of(folder, hold_out=held)
    dataset = with_tokens(load(config), WordLengths(), 4)
    assert held not in train_captions(dataset)
    batches = train_batches(dataset, config, batch=2, seed=0)
    assert next(batches)["cond"]["tokens"].tolist() == [[8, 3, 0, 0]] * 2
    batches.close()
