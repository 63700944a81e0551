"""Checkpoints that are lost, under another number, or cannot be read just now; and paths in which none can be saved."""

from __future__ import annotations

import errno
import shutil

import pytest

from glowdiff.errors import ConfigError
from glowdiff.training.loop import train
from glowdiff.workdir import agreement, step_files
from glowdiff.workdir import checkpoint as checkpoints_module
from glowdiff.workdir.checkpoint import CheckpointError, Checkpoints
from tests import small, toys
from tests.workdir.states import LIKE, contents, names, save


@pytest.fixture
def finished(toy, tmp_path):
    config = toys.toy_config(toy)
    train(config, tmp_path / "run")
    return config, tmp_path / "run"


@pytest.mark.parametrize("how", ["moved", "emptied", "renamed", "all but the log"])
def test_a_run_whose_checkpoints_are_lost_does_not_start_afresh(how, finished):
    config, workdir = finished
    steps = workdir / "checkpoints"
    if how == "moved":
        shutil.move(steps, workdir.parent / "away")
    elif how == "emptied":
        shutil.rmtree(steps)
        steps.mkdir()
    elif how == "renamed":
        for step in steps.iterdir():
            step.rename(steps / f"{step.name}.bak")
    else:
        for path in workdir.iterdir():
            if path.name != "metrics.jsonl":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    log = (workdir / "metrics.jsonl").read_text()
    for dry_run in (True, False):
        with pytest.raises(CheckpointError, match=r"(saved up to step 4|holds the metrics).* use another workdir"):
            train(config, workdir, dry_run=dry_run)
    assert (workdir / "metrics.jsonl").read_text() == log


def test_a_run_that_was_killed_before_its_first_save_says_that_it_starts_again(toy, tmp_path, capsys):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 1.0}\n{"step": 2, "lo')
    train(toys.toy_config(toy), tmp_path)
    assert "No checkpoint was saved before: step 1 again. 1 lines of the log are dropped." in capsys.readouterr().out
    assert [line["step"] for line in small.log(tmp_path)] == [1, 2, 3, 4]


def test_a_step_under_another_number_is_not_that_step(workdir):
    (workdir / "checkpoints/2").rename(workdir / "checkpoints/5")
    with Checkpoints(workdir) as checkpoints:
        restored = checkpoints.restore_latest(LIKE)
    assert restored is not None
    assert restored.step == 1
    assert "damaged-5" in names(workdir)


@pytest.mark.parametrize("where", ["read_json", "read_arrays"])
@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "Input/output error"),
        TimeoutError("timed out"),
        PermissionError(errno.EACCES, "Permission denied"),
        ValueError("UNAVAILABLE: Error reading: 503"),
        ValueError('DATA: Failed to open "x" [OS error 5: EIO Input/output error]'),
    ],
    ids=lambda error: f"{type(error).__name__} {error}"[:30],
)
def test_what_cannot_be_read_just_now_is_no_damage(where, error, workdir, monkeypatch):
    usual, tries = getattr(step_files, where), []

    def fails(*arguments):
        tries.append(arguments)
        if len(tries) <= often:
            raise error
        return usual(*arguments)

    monkeypatch.setattr(agreement, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(checkpoints_module, where, fails)
    often, before = 3, contents(workdir)
    with Checkpoints(workdir) as checkpoints:
        with pytest.raises(CheckpointError, match=r"checkpoints/2 could not be read: .*nothing was changed"):
            checkpoints.restore_latest(LIKE)
        assert contents(workdir) == before
        tries.clear()
        often = 2
        restored = checkpoints.restore_latest(LIKE)
    assert restored is not None
    assert restored.step == 2


@pytest.mark.parametrize("name", ["run[1]", "a*b", "what?", "back\\slash"])
def test_a_path_in_which_no_checkpoint_could_be_read_is_refused_before_anything_is_written(name, toy, tmp_path):
    for dry_run in (True, False):
        with pytest.raises(ConfigError, match=r"has . in its path, which the library that saves checkpoints"):
            train(toys.toy_config(toy), tmp_path / name, dry_run=dry_run)
    with pytest.raises(ConfigError, match="Use a workdir without"):
        save(tmp_path / name, 1)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["a b", "100%", "{x}", "]", "#1", "é", "$HOME", "it's", "-x", "a:b", "~"])
def test_other_paths_are_taken_literally(name, tmp_path):
    save(tmp_path / name, 1)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with Checkpoints(tmp_path / name) as checkpoints:
        assert checkpoints.restore(1, LIKE).step == 1


def test_a_first_save_that_cannot_be_read_back_ends_the_run(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints_module, "check_path", lambda root: None)
    with pytest.raises(CheckpointError, match=r"checkpoints/2 is damaged"):
        train(toys.toy_config(toy, train__steps=50), tmp_path / "run[1]")
    assert [line["step"] for line in small.log(tmp_path / "run[1]")] == [1, 2]
