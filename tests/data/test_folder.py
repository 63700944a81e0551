"""Folders: classes, splits, the report of refused files, and when a folder is prepared anew."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glowdiff.config.sections import DataConfig
from glowdiff.data.batches import train_batches
from glowdiff.data.dataset import load, prepare
from glowdiff.data.folder import prepare as folder_module
from glowdiff.errors import ConfigError
from tests.data.conftest import save_pictures


def config_of(path: Path, tmp_path: Path, **changes) -> DataConfig:
    return DataConfig(**{"name": "folder", "path": str(path), "dir": str(tmp_path / "prepared"), **changes})


def test_every_good_kind_is_read(good_files, tmp_path):
    dataset = load(config_of(good_files, tmp_path))
    count = len(list(good_files.iterdir()))
    assert dataset.spec.train_size + dataset.spec.test_size == count
    assert (dataset.spec.shape, dataset.spec.levels, dataset.spec.classes) == ((16, 16, 3), 256, ())
    assert dataset.train[0]["cond"] == {}


def test_sub_folders_are_classes(tmp_path):
    for seed, name in enumerate(["cat", "dog"]):
        save_pictures(tmp_path / "pets" / name / "more", 12, seed=seed)
    dataset = load(config_of(tmp_path / "pets", tmp_path))
    assert dataset.spec.classes == ("cat", "dog")
    examples = [split[i] for split in (dataset.train, dataset.test) for i in range(len(split))]
    labels = {example["image"].tobytes(): int(example["cond"]["label"]) for example in examples}
    for label, name in enumerate(["cat", "dog"]):
        for file in (tmp_path / "pets" / name / "more").iterdir():
            assert labels[np.asarray(Image.open(file)).tobytes()] == label
    assert examples[0]["cond"]["label"].dtype == np.int32


def test_train_and_test_folders_are_the_splits(tmp_path):
    save_pictures(tmp_path / "set" / "train" / "a", 5)
    save_pictures(tmp_path / "set" / "test" / "a", 3, seed=1)
    save_pictures(tmp_path / "set", 1, seed=2)
    config = config_of(tmp_path / "set", tmp_path)
    spec = load(config).spec
    assert (spec.train_size, spec.test_size, spec.classes) == (5, 3, ("a",))
    report = json.loads((prepare(config) / "report.json").read_text())
    assert report["refused"] == {"000.png": "it lies outside the folders train and test"}


def test_adding_files_moves_no_image_between_the_splits(tmp_path):
    save_pictures(tmp_path / "set", 40)
    before = load(config_of(tmp_path / "set", tmp_path, test_fraction=0.3))
    assert 4 <= before.spec.test_size <= 20
    Image.new("RGB", (16, 16)).save(tmp_path / "set" / "new.png")
    after = load(config_of(tmp_path / "set", tmp_path, test_fraction=0.3))
    for split in ("train", "test"):
        old, new = (
            {s[i]["image"].tobytes() for i in range(len(s))} for s in (getattr(before, split), getattr(after, split))
        )
        assert old <= new


def test_refused_files_are_named_in_a_report_and_the_rest_is_used(bad_files, tmp_path, capsys):
    save_pictures(bad_files, 20)
    (bad_files / ".DS_Store").write_bytes(b"hidden")
    config = config_of(bad_files, tmp_path)
    dataset = load(config)
    assert dataset.spec.train_size + dataset.spec.test_size == 20
    shown = capsys.readouterr().err
    report = json.loads((prepare(config) / "report.json").read_text())
    assert set(report["refused"]) == {file.name for file in bad_files.iterdir() if file.name[0] not in "0."}
    for name, reason in report["refused"].items():
        assert f"{name}: {reason}" in shown
    assert ".DS_Store" not in shown


def test_too_many_refused_files_are_an_error_that_names_them(bad_files, tmp_path):
    save_pictures(bad_files, 3)
    with pytest.raises(
        ConfigError, match=r"(?s)13 of its 18 files cannot be used.*data\.max_bad=0\.5.*README\.txt: it is"
    ) as error:
        load(config_of(bad_files, tmp_path))
    listed = next((tmp_path / "prepared" / "folder").glob("*-refused.json"))
    assert str(listed) in str(error.value)
    assert len(json.loads(listed.read_text())["refused"]) == 13  # damage behind the headers is not looked for any more
    assert not [p for p in (tmp_path / "prepared" / "folder").iterdir() if p.is_dir()]


def test_max_bad_also_holds_for_a_set_prepared_under_a_laxer_one(bad_files, tmp_path):
    save_pictures(bad_files, 20)
    load(config_of(bad_files, tmp_path))
    with pytest.raises(ConfigError, match=r"data\.max_bad=0\.1"):
        load(config_of(bad_files, tmp_path, max_bad=0.1))


def test_the_same_folder_is_prepared_once_and_a_changed_one_again(tmp_path, monkeypatch):
    save_pictures(tmp_path / "set", 6)
    count = Counter()
    written = folder_module._write
    monkeypatch.setattr(folder_module, "_write", lambda *a: count.update(["written"]) or written(*a))
    config = config_of(tmp_path / "set", tmp_path)
    load(config)
    load(config)
    assert count["written"] == 1
    save_pictures(tmp_path / "set", 7)
    assert sum(load(config).spec.__getattribute__(f"{split}_size") for split in ("train", "test")) == 7
    os.utime(tmp_path / "set" / "000.png", ns=(1, 1))
    load(config)
    assert load(config_of(tmp_path / "set", tmp_path, size=8)).spec.shape == (8, 8, 3)
    assert count["written"] == 4


def test_equal_sizes_are_kept_even_if_not_square(tmp_path):
    save_pictures(tmp_path / "set", 5, size=(20, 12))
    dataset = load(config_of(tmp_path / "set", tmp_path))
    assert dataset.spec.shape == (12, 20, 3)
    assert dataset.train[0]["image"].shape == (12, 20, 3)


def test_different_sizes_need_a_size_and_one_is_suggested(tmp_path):
    save_pictures(tmp_path / "set" / "a", 3, size=(40, 36))
    save_pictures(tmp_path / "set" / "b", 3, size=(50, 60))
    with pytest.raises(ConfigError, match=r"36x40 \(3\), 60x50 \(3\).*data\.size=32"):
        load(config_of(tmp_path / "set", tmp_path))
    assert load(config_of(tmp_path / "set", tmp_path, size=32)).spec.shape == (32, 32, 3)


def test_images_beside_classes_have_no_class(tmp_path):
    save_pictures(tmp_path / "set" / "a", 3)
    save_pictures(tmp_path / "set", 1)
    config = config_of(tmp_path / "set", tmp_path)
    assert load(config).spec.classes == ("a",)
    report = json.loads((prepare(config) / "report.json").read_text())
    assert "no class" in report["refused"]["000.png"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "no folder"),
        (lambda p: p.write_text(""), "a file"),
        (lambda p: p.mkdir(), "is empty"),
        (lambda p: save_pictures(p, 1), "1 usable images"),
    ],
)
def test_what_is_no_folder_of_images(tmp_path, make, message):
    make(tmp_path / "set")
    with pytest.raises(ConfigError, match=message):
        load(config_of(tmp_path / "set", tmp_path))


def test_a_test_folder_without_a_usable_image_is_an_error(tmp_path):
    save_pictures(tmp_path / "set" / "train", 5)
    save_pictures(tmp_path / "set" / "test", 2)
    for damage in (b"", (tmp_path / "set" / "test" / "000.png").read_bytes()[:300]):
        for file in (tmp_path / "set" / "test").iterdir():
            file.write_bytes(damage)
        with pytest.raises(ConfigError, match=r"none of whose test images can be used\.\n  test/000\.png: "):
            load(config_of(tmp_path / "set", tmp_path))


def test_one_damaged_file_of_another_size_does_not_make_the_sizes_differ(tmp_path):
    save_pictures(tmp_path / "set", 5)
    save_pictures(tmp_path / "other", 1, size=(40, 40))
    (tmp_path / "set" / "broken.png").write_bytes((tmp_path / "other" / "000.png").read_bytes()[:500])
    assert load(config_of(tmp_path / "set", tmp_path)).spec.shape == (16, 16, 3)


def test_a_folder_linked_into_itself_is_read_once(tmp_path):
    save_pictures(tmp_path / "set", 4)
    (tmp_path / "set" / "again").symlink_to(tmp_path / "set")
    spec = load(config_of(tmp_path / "set", tmp_path)).spec
    assert (spec.train_size + spec.test_size, spec.classes) == (4, ())


def test_names_of_files_and_classes_may_be_anything(tmp_path):
    names = ("[red]a[", "b\nc", "größe")
    for name in names:
        save_pictures(tmp_path / "set" / name, 3)
        (tmp_path / "set" / name / "[bold].txt").write_text("")
    assert load(config_of(tmp_path / "set", tmp_path)).spec.classes == tuple(sorted(names))


def test_a_folder_can_be_trained_on(tmp_path):
    save_pictures(tmp_path / "set", 12)
    config = config_of(tmp_path / "set", tmp_path, flip=True)
    assert next(train_batches(load(config), config, batch=4, seed=0))["image"].shape == (4, 16, 16, 3)
