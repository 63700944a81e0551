"""Digits and photos: what is in them, and how preparing goes about failures and rivals."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import sklearn
from PIL import Image
from sklearn.datasets import load_digits

from glowdiff.cli.prepare import main
from glowdiff.config.sections import DataConfig
from glowdiff.data.dataset import load
from glowdiff.data.sets import digits as digits_module
from glowdiff.data.sets import photos as photos_module
from glowdiff.data.sources import Records
from glowdiff.data.store import data_dir, prepare_once
from glowdiff.errors import ConfigError
from glowdiff.spec import spec_from_json, spec_to_json


def test_digits_are_those_of_scikit_learn_split_by_class(digits):
    bunch = load_digits()
    assert (digits.spec.train_size, digits.spec.test_size) == (len(digits.train), len(digits.test)) == (1437, 360)
    assert (digits.spec.shape, digits.spec.levels, digits.spec.classes) == ((8, 8, 1), 17, tuple("0123456789"))
    test = digits_module.test_rows(bunch.target)
    for split, rows in ((digits.train, ~test), (digits.test, test)):
        images = np.stack([split[i]["image"] for i in range(len(split))])
        labels = np.array([split[i]["cond"]["label"] for i in range(len(split))])
        np.testing.assert_array_equal(images[..., 0], bunch.images[rows])
        np.testing.assert_array_equal(labels, bunch.target[rows])
        np.testing.assert_allclose(np.bincount(labels), np.bincount(bunch.target) * rows.mean(), atol=1)


def test_photos_are_crops_of_disjoint_pictures(photos):
    assert (photos.spec.shape, photos.spec.levels, photos.spec.classes) == ((16, 16, 3), 256, ())
    assert not set(photos_module.TRAIN) & set(photos_module.TEST)
    same_scene = {"skimage/data/motorcycle_left.png", "skimage/data/motorcycle_right.png"}
    assert same_scene <= set(photos_module.TRAIN) or same_scene <= set(photos_module.TEST)
    assert photos.train[0]["cond"] == {}
    assert photos.train[0]["image"].dtype == np.uint8


@pytest.mark.parametrize("size", [16, 32, 64])
def test_photos_number_thousands(size):
    count = {
        split: sum(1 for _ in photos_module.crops(names, size, stride))
        for split, names, stride in (("train", photos_module.TRAIN, 16), ("test", photos_module.TEST, max(size, 32)))
    }
    assert 10_000 < count["train"] < 15_000
    assert count["test"] > (200 if size == 64 else 1_000)


def test_test_crops_do_not_overlap_and_are_cut_from_the_picture():
    picture = np.asarray(Image.open(Path(sklearn.__file__).parent / "datasets/images/china.jpg"))
    items = list(photos_module.crops(["sklearn/datasets/images/china.jpg"], 32, 32))
    full = [item.image for item in items[: (427 // 32) * (640 // 32)]]
    np.testing.assert_array_equal(full[21], picture[32:64, 32:64])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (DataConfig(name="photos", size=48), r"data\.size is 48; photos come as crops of 16, 32, 64 pixels"),
        (DataConfig(name="digits", size=16), r"data\.size is 16, but the images of digits are 8x8"),
        (DataConfig(name="digits", path="/x"), "did you mean data.name=folder"),
        (DataConfig(name="folder"), "needs data.path"),
    ],
)
def test_settings_that_do_not_suit_a_set(config, message, store):
    with pytest.raises(ConfigError, match=message):
        load(dataclasses.replace(config, dir=store))


def test_the_spec_survives_json(digits):
    assert spec_from_json(json.loads(json.dumps(spec_to_json(digits.spec)))) == digits.spec


def test_a_spec_of_before_there_were_captions_is_read(digits):
    fields = spec_to_json(digits.spec)
    old = {key: fields[key] for key in ("name", "shape", "levels", "train_size", "test_size", "classes")}
    assert spec_from_json(old) == digits.spec


def test_the_environment_variable_replaces_the_default_only(monkeypatch, tmp_path):
    monkeypatch.setenv("GLOWDIFF_DATA", str(tmp_path / "a"))
    assert data_dir() == tmp_path / "a"
    assert data_dir("/b") == Path("/b")
    monkeypatch.delenv("GLOWDIFF_DATA")
    assert data_dir() == Path.home() / ".cache/glowdiff/data"
    with pytest.raises(ConfigError, match="local folder"):
        data_dir("gs://bucket/data")


def test_a_second_load_reads_what_the_first_has_prepared(digits, store, monkeypatch):
    monkeypatch.setattr(digits_module, "_write", lambda _: pytest.fail("prepared again"))
    again = load(DataConfig(name="digits", dir=store))
    np.testing.assert_array_equal(again.test.images, digits.test.images)


def _fill(scratch: Path) -> Path:
    made = scratch / "made"
    made.mkdir()
    for number in range(20):
        (made / str(number)).write_text("x")
        time.sleep(0.005)
    return made


def test_an_interrupted_preparation_is_not_taken_for_a_finished_one(tmp_path):
    def interrupted(scratch: Path) -> Path:
        (scratch / "half").write_text("x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_once(tmp_path / "sets" / "a", interrupted)
    assert not (tmp_path / "sets" / "a").exists()
    assert not list((tmp_path / "sets").glob(".preparing-*"))
    assert len(list(prepare_once(tmp_path / "sets" / "a", _fill).iterdir())) == 20


def test_what_a_killed_preparation_left_is_removed_a_day_later(tmp_path):
    for name, age in (("old", 2 * 24 * 3600), ("young", 60)):
        left = tmp_path / f".preparing-{name}"
        left.mkdir()
        os.utime(left, (time.time() - age,) * 2)
    prepare_once(tmp_path / "a", _fill)
    assert {p.name for p in tmp_path.glob(".preparing-*")} == {".preparing-young"}


def test_a_set_needed_at_once_by_many_is_prepared_once(tmp_path):
    writers = []

    def write(scratch: Path) -> Path:
        writers.append(scratch)
        return _fill(scratch)

    def prepare(_) -> int:
        return len(list(prepare_once(tmp_path / "sets" / "a", write).iterdir()))

    with ThreadPoolExecutor(4) as pool:  # the lock is one of files, so threads stand for processes
        assert list(pool.map(prepare, range(4))) == [20] * 4
    assert len(writers) == 1


def test_without_locks_the_first_to_finish_wins(tmp_path, monkeypatch):
    monkeypatch.setattr("glowdiff.data.store.fcntl", None)

    def slower(scratch: Path) -> Path:
        prepare_once(tmp_path / "a", _fill)  # somebody else finishes while this one is at work
        (scratch / "mine").mkdir()
        return scratch / "mine"

    assert len(list(prepare_once(tmp_path / "a", slower).iterdir())) == 20


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be prepared in .*file.*data\.dir"):
        load(DataConfig(name="digits", dir=str(tmp_path / "file")))


def test_damaged_prepared_files_are_named(tmp_path):
    load(DataConfig(name="digits", dir=str(tmp_path)))
    file = next(tmp_path.rglob("*train.array_record*"))
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ConfigError, match=r"digits.* is damaged .*Delete that folder"):
        load(DataConfig(name="digits", dir=str(tmp_path)))


def test_large_sets_are_decoded_at_each_access(digits, store, monkeypatch):
    monkeypatch.setattr("glowdiff.data.sources.MEMORY_LIMIT", 0)
    large = load(DataConfig(name="digits", dir=store))
    assert isinstance(large.train, Records)
    for index in (0, 1436):
        np.testing.assert_array_equal(large.train[index]["image"], digits.train[index]["image"])
        assert large.train[index]["cond"] == digits.train[index]["cond"]


def test_the_command_prepares(tmp_path, capsys):
    assert main(["digits", "--dir", str(tmp_path)]) == 0
    assert f"digits is ready in {tmp_path}" in capsys.readouterr().out
    assert main(["photos", "--dir", str(tmp_path), "--size", "5"]) == 1
    assert "data.size is 5" in capsys.readouterr().err
