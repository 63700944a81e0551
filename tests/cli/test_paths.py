"""Outputs that cannot be written are found before anything takes time."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from glowdiff.cli import edit, paths, sample, train
from glowdiff.cli.paths import check_file, check_folder
from glowdiff.errors import ConfigError
from tests.cli.typed import typed


def test_what_can_be_written_is_left_as_it_is(tmp_path):
    (tmp_path / "old.png").write_text("old")
    for path in (tmp_path / "new.png", tmp_path / "deep" / "er" / "new.png", tmp_path / "old.png"):
        check_file("--out", str(path))
        check_folder("--workdir", str(path.parent))
    check_file("--out", "gs://bucket/a.png")
    check_folder("--workdir", "gs://bucket/run")
    assert [path.name for path in tmp_path.iterdir()] == ["old.png"]
    assert (tmp_path / "old.png").read_text() == "old"


def test_what_cannot_is_an_error_that_names_it(tmp_path, monkeypatch):
    (tmp_path / "a.png").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    for path, message in (
        ("a.png", r"--out is .*a\.png, which is a folder"),
        ("file/b.png", r"--out is .*b\.png, but .*file is no folder"),
        ("gone/b.png", r"--out is .*b\.png, but .*gone is no folder"),
    ):
        with pytest.raises(ConfigError, match=message):
            check_file("--out", str(tmp_path / path))
    with pytest.raises(ConfigError, match=r"--out is /proc/a\.png, but nothing can be written in /proc"):
        check_file("--out", "/proc/a.png")
    with pytest.raises(ConfigError, match=r"--workdir is .*file, but .*file is no folder"):
        check_folder("--workdir", str(tmp_path / "file"))

    def full(**_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(paths.tempfile, "TemporaryFile", full)
    with pytest.raises(ConfigError, match=rf"nothing can be written in {tmp_path} \(No space left on device\)"):
        check_folder("--workdir", str(tmp_path / "run"))


@pytest.fixture
def no_models(monkeypatch):
    """Whatever reads a model or trains one fails the test."""

    def never(*_, **__):
        raise AssertionError

    for module, name in ((sample, "load"), (edit, "load"), (train, "train")):
        monkeypatch.setattr(module, name, never)


@pytest.mark.usefixtures("no_models")
def test_outputs_are_tried_before_a_model_is_read(trained, tmp_path):
    (tmp_path / "a.png").mkdir()
    (tmp_path / "file").write_text("")
    workdir = f"--workdir={trained.workdir}"
    for main, words, message in (
        (sample.main, [workdir, f"--out={tmp_path}/a.png"], "--out is"),
        (sample.main, [workdir, f"--film={tmp_path}/file/a.gif"], "--film is"),
        (sample.main, [workdir, "--out=/proc/a.png"], "--out is /proc/a.png"),
        (edit.main, ["temperature", workdir, f"--out={tmp_path}/a.png"], "--out is"),
        (train.main, ["--config=nice/digits:smoke", f"--workdir={tmp_path}/file"], "--workdir is"),
        (train.main, ["--config=nice/digits:smoke", f"--workdir={tmp_path}/file/run", "--dry_run"], "--workdir is"),
    ):
        assert message in typed(main, *words).error


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    trained = typed(train.main, "--config=nice/digits:smoke", "--workdir=~/runs/nice")
    assert trained.code == 0, trained.err
    drawn = typed(sample.main, "--workdir=~/runs/nice", "--num=2", "--out=~/a.npz")
    assert drawn.code == 0, drawn.err
    assert {path.name for path in Path.home().iterdir()} >= {"runs", "a.npz"}
    assert not Path("~").exists()
