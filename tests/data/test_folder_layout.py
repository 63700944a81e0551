"""What the sub-folders of a folder mean: splits, classes, a wrapper; and what is asked about."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from glowdiff.config.sections import DataConfig
from glowdiff.data.dataset import Dataset, load, prepare
from glowdiff.errors import ConfigError
from tests.data.conftest import save_pictures

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


def config_of(root: Path) -> DataConfig:
    return DataConfig(name="folder", path=str(root / "set"), dir=str(root / "prepared"))


def build(root: Path, *folders: str) -> None:
    """Three pictures in each folder, all different; none in those with a slash at the end."""
    for seed, name in enumerate(folders):
        (root / "set" / name).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            save_pictures(root / "set" / name, 3, seed=seed)


def facts(dataset: Dataset) -> tuple[tuple[str, ...], int, int]:
    return dataset.spec.classes, dataset.spec.train_size, dataset.spec.test_size


def notes(root: Path) -> list[str]:
    return json.loads((prepare(config_of(root)) / "report.json").read_text())["notes"]


def as_splits(train: str, test: str) -> tuple[str, ...]:
    return tuple(f"{split}/{kind}" for split in (train, test) for kind in ("cat", "dog"))


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"),
        ("Train", "TEST"),
        ("training", "testing"),
        ("train", "val"),
        ("Training", "Valid"),
        ("train", "validation"),
        ("TRAIN", "dev"),
    ],
)
@pytest.mark.parametrize("wrapper", ["", "photos/", "a/b/", "train/"])
def test_folders_named_like_splits_are_the_splits(tmp_path, train, test, wrapper):
    build(tmp_path, *(wrapper + name for name in as_splits(train, test)))
    dataset = load(config_of(tmp_path))
    assert facts(dataset) == (("cat", "dog"), 6, 6)
    said = " ".join(notes(tmp_path))
    assert (f"{test} is the test split" in said) == (test.lower() not in ("test", "testing"))
    assert bool(wrapper) == ("all pictures are in" in said)


@pytest.mark.parametrize("name", ["val", "Validation", "dev"])
def test_beside_train_and_test_a_third_split_is_left_out_and_said(tmp_path, name, capsys):
    build(tmp_path, *as_splits("train", "test"), f"{name}/cat", f"{name}/bird")
    assert facts(load(config_of(tmp_path))) == (("cat", "dog"), 6, 6)
    assert f"set: {name} is left out: the splits are train and test" in capsys.readouterr().err
    assert json.loads((prepare(config_of(tmp_path)) / "report.json").read_text())["files"] == 12


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (
            ("train/cat", "train/dog"),
            ["in train, so what is in it is the data, of which some are held"],
        ),
        (("Train/cat", "Train/dog", "test/"), ["all pictures are in Train, ", "test holds no picture"]),
        (
            ("train/cat", "train/dog", "val/x/", "test/"),
            ["in train, ", "test holds no picture", "val holds no picture"],
        ),
        (("photos/cat", "photos/dog"), ["all pictures are in photos, so what is in it is the data"]),
        (("photos/cat", "photos/dog", "empty/"), ["all pictures are in photos, so what is in it is the data"]),
        (("a/b/cat", "a/b/dog"), ["all pictures are in a, ", "all pictures are in a/b, "]),
        (("test/cat", "test/dog"), ["all pictures are in test, so what is in it is the data, of which some are held"]),
        (("cat", "dog", "test/"), ["test holds no picture"]),
        (("cat", "dog", "__MACOSX/cat", ".hidden/x", "@eaDir/y"), []),
    ],
)
def test_classes_are_where_folders_part(tmp_path, folders, said):
    build(tmp_path, *folders)
    classes, train, test = facts(load(config_of(tmp_path)))
    assert (classes, train + test) == (("cat", "dog"), 6)
    shown = notes(tmp_path)
    assert len(shown) == len(said)
    for note, start in zip(shown, said, strict=True):
        assert start in note


def test_one_folder_of_pictures_is_no_class(tmp_path):
    build(tmp_path, "photos")
    (tmp_path / "set" / "README.txt").write_text("These are photographs.")
    assert facts(load(config_of(tmp_path)))[0] == ()


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("train", "cat"), "where train stands beside cat: splits or classes?"),
        (("train", "val", "bird", "cat"), "where train, val stand beside bird, cat: splits or classes?"),
        (("bicycle", "car", "Train"), "where Train stands beside bicycle, car: .* rename Train, Train to Train_ for"),
        (("cat", "dog", "dev"), "where dev stands beside cat, dog"),
        (("photos/cat", "photos/testing"), "where testing stands beside cat"),
        (("train", "."), "where train stands beside pictures: splits"),
        (("train", "Train"), "where Train and train are both named like the same split; make one of them"),
        (("train", "val", "validation"), "where val and validation are both named like"),
        (("val", "test"), "where pictures are in test, val, but none in a folder train"),
        (("train/", "test"), "where pictures are in test, but none in a folder train"),
        (("train/", "val", "test"), "where pictures are in test, val, but none in a folder train"),
    ],
)
def test_what_may_mean_two_things_is_asked_about(tmp_path, folders, message):
    build(tmp_path, *folders)
    with pytest.raises(ConfigError, match=message) as error:
        load(config_of(tmp_path))
    assert "\n" not in str(error.value)


def test_links_to_folders_are_followed(tmp_path):
    build(tmp_path / "elsewhere", "cat", "dog")
    (tmp_path / "set").mkdir()
    for name in ("cat", "dog"):
        (tmp_path / "set" / name).symlink_to(tmp_path / "elsewhere" / "set" / name)
    assert facts(load(config_of(tmp_path)))[0] == ("cat", "dog")


def test_links_in_circles_end_and_what_is_there_twice_is_read_once(tmp_path):
    build(tmp_path, *(f"class{number}" for number in range(8)))
    classes = sorted((tmp_path / "set").iterdir())
    for folder in classes:
        for other in (*classes, tmp_path / "set"):
            (folder / f"to {other.name}").symlink_to(other)
    (tmp_path / "set" / "alias").symlink_to(classes[0])
    (tmp_path / "set" / "nowhere.png").symlink_to("gone.png")
    config = config_of(tmp_path)
    assert facts(load(config))[0] == tuple(folder.name for folder in classes)
    report = json.loads((prepare(config) / "report.json").read_text())
    assert report["files"] == 8 * 3 + 1
    assert report["refused"] == {"nowhere.png": "it cannot be read (No such file or directory)"}
    assert report["notes"] == ["alias is left out, a link to a folder that is read already; so are 72 more"]


def test_class_folders_that_look_the_same_are_one_class(tmp_path):
    build(tmp_path, COMPOSED, DECOMPOSED, "dog")
    dataset = load(config_of(tmp_path))
    assert (dataset.spec.classes, dataset.spec.train_size + dataset.spec.test_size) == ((COMPOSED, "dog"), 9)
    labels = [int(split[row]["cond"]["label"]) for split in dataset[1:] for row in range(len(split))]
    assert np.bincount(labels).tolist() == [6, 3]
