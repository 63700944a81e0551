"""Interrupted and resumed equals uninterrupted, bit for bit."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glowdiff.training import loop
from glowdiff.training.feed import Feed
from glowdiff.training.loop import train
from glowdiff.workdir.checkpoint import Checkpoints
from tests import small, toys

# ---- Real signals at the real command.

LONG = {
    "train__steps": 90,
    "train__log_every": 1,
    "train__checkpoint_every": 30,
    "train__accumulate": 2,
    "train__clip": 50.0,
    "data__shift": 1,
    "eval__every": 30,
    "eval__images": 16,
    "pictures__every": 0,
    "model__levels": 1,
}


def arguments(workdir: Path) -> list[str]:
    return ["--config=configs/glow/digits.py:smoke", f"--workdir={workdir}", *small.flags(LONG)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp("uninterrupted")
    result = small.command("train.py", *arguments(workdir))
    assert result.returncode == 0, result.stderr
    return workdir


def assert_resumes_to(uninterrupted: Path, workdir: Path) -> str:
    """Run the same command again, compare everything, and return what it printed."""
    left = small.steps(workdir)[-1]
    result = small.command("train.py", *arguments(workdir))
    assert result.returncode == 0, result.stderr
    assert f"Going on after step {left}" in result.stdout
    assert_equal(uninterrupted, workdir)
    return result.stdout


def assert_equal(uninterrupted: Path, workdir: Path) -> None:
    from glowdiff.workdir import description as workdirs

    config = workdirs.read(uninterrupted).config
    assert small.steps(workdir)[-1] == small.steps(uninterrupted)[-1] == config.train.steps
    expected, found = small.state_of(config, uninterrupted), small.state_of(config, workdir)
    assert {path for path in expected if expected[path] != found[path]} == set()
    lines = small.log(workdir)
    assert [line["step"] for line in lines] == [line["step"] for line in small.log(uninterrupted)]
    assert lines == small.log(uninterrupted)
    for picture in uninterrupted.glob("samples/*.png"):
        assert (workdir / "samples" / picture.name).read_bytes() == picture.read_bytes()


def test_the_uninterrupted_run_logged_every_step_and_its_evaluations(uninterrupted):
    lines = small.log(uninterrupted)
    assert [line["step"] for line in lines] == list(range(1, 91))
    assert [line["step"] for line in lines if "test_bits_per_dim" in line] == [30, 60, 90]


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (signal.SIGTERM, "SIGTERM"),
        (signal.SIGINT, "Ctrl-C"),
        (signal.SIGHUP, "a closed terminal (SIGHUP)"),
    ],
    ids=["term", "int", "hup"],
)
def test_a_signal_saves_exits_with_0_and_loses_nothing(number, cause, uninterrupted, tmp_path):
    process = small.start("train.py", *arguments(tmp_path))
    log = tmp_path / "metrics.jsonl"
    while process.poll() is None and not (log.exists() and log.read_bytes().count(b"\n") >= 7):
        time.sleep(0.005)
    seen = log.read_bytes().count(b"\n")
    process.send_signal(number)
    out, err = process.communicate()
    assert process.returncode == 0, err
    stopped = small.steps(tmp_path)[-1]
    assert seen <= stopped < 90, "the signal was to come in the middle"
    assert f"Stopped by {cause} after step {stopped}; the same command goes on from there." in out
    assert err == ""
    if number == signal.SIGTERM:  # the others take the same way from here
        assert_resumes_to(uninterrupted, tmp_path)


# Kills itself, as `kill -9` would, when the files of step 60 are there and wait to be renamed into place: by then the
# loop has gone on, and has written lines of later steps.
KILLED = """
import os, runpy, signal, sys

def hook(event, arguments):
    if event == "os.rename" and os.fspath(arguments[1]).endswith("/checkpoints/60"):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
runpy.run_path("train.py", run_name="__main__")
"""


def test_kill_9_in_an_asynchronous_save_goes_on_from_the_step_before(uninterrupted, tmp_path):
    process = small.command("-c", KILLED, *arguments(tmp_path))
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert small.steps(tmp_path) == [30]
    assert [path.name for path in tmp_path.glob("checkpoints/60*")] == ["60.orbax-checkpoint-tmp"]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) >= 60
    assert_resumes_to(uninterrupted, tmp_path)
    assert list(tmp_path.glob("checkpoints/*tmp*")) == []


# ---- Signals at moments that no timer hits. The toy compiles at once, and the loop is the same.

STEPS = 12


@pytest.fixture
def config(toy):
    return toys.toy_config(
        toy, train__steps=STEPS, train__checkpoint_every=5, train__accumulate=2, eval__every=4, pictures__every=6
    )


@pytest.fixture
def whole(config) -> Path:
    """The same run, never interrupted."""
    return small.once("toy uninterrupted", lambda folder: train(config, folder))


def signal_before(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int) -> None:
    """Send SIGTERM at the `call`-th call of a function of the loop, just before it runs."""
    function, calls = getattr(owner, name), []

    def wrapped(*args: Any, **keywords: Any) -> Any:
        calls.append(None)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGTERM)
        return function(*args, **keywords)

    monkeypatch.setattr(owner, name, wrapped)


def while_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    signal_before(monkeypatch, loop.Experiment, "train_step", 1)


def while_evaluating(monkeypatch: pytest.MonkeyPatch) -> None:
    signal_before(monkeypatch, loop, "eval_batches", 1)


def while_evaluating_last(monkeypatch: pytest.MonkeyPatch) -> None:
    signal_before(monkeypatch, loop, "eval_batches", 3)


def while_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    signal_before(monkeypatch, loop.Reporter, "picture", 1)


def at(step: int) -> Callable[[pytest.MonkeyPatch], None]:
    def during_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
        signal_before(monkeypatch, Feed, "next", step)

    return during_the_step


@pytest.mark.parametrize(
    ("interrupt", "stops_at"),
    [
        pytest.param(while_compiling, 1, id="while compiling"),
        pytest.param(while_evaluating, 5, id="while evaluating"),
        pytest.param(while_evaluating_last, STEPS, id="while evaluating after the last step"),
        pytest.param(while_drawing, 7, id="while drawing samples"),
        pytest.param(at(3), 3, id="in any step"),
        pytest.param(at(4), 4, id="in a step after which an evaluation is due"),
        pytest.param(at(6), 6, id="in a step after which a picture is due"),
        pytest.param(at(5), 5, id="in a step that is saved anyway"),
        pytest.param(at(STEPS), STEPS, id="in the last step"),
    ],
)
def test_sigterm_loses_nothing(interrupt, stops_at, config, whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patches:
        interrupt(patches)
        train(config, tmp_path / "run")
    assert small.steps(tmp_path / "run")[-1] == stops_at
    train(config, tmp_path / "run")
    assert_equal(whole, tmp_path / "run")


def test_an_evaluation_that_sigterm_cut_is_made_up_for_by_the_next_run(config, tmp_path, monkeypatch):
    with monkeypatch.context() as patches:
        at(4)(patches)
        train(config, tmp_path)
    with Checkpoints(tmp_path) as checkpoints:
        data = checkpoints.restore(4, loop.build(config).abstract_state()._asdict()).data
    assert data["position"] == {"next_image": 32}
    assert data["due"]["loss"] > 0
    assert [line["step"] for line in small.log(tmp_path)] == [1, 2, 3]
    # Killed again before its first step, the next run still owes nothing: the line is there.
    with monkeypatch.context() as patches:
        while_compiling(patches)
        train(config, tmp_path)
    assert [line["step"] for line in small.log(tmp_path)] == [1, 2, 3, 4, 5]
    assert "test_bits_per_dim" in small.log(tmp_path)[3]


def test_interrupted_at_every_step(config, whole, tmp_path, monkeypatch):
    for step in range(1, STEPS + 1):
        with monkeypatch.context() as patches:
            while_compiling(patches)
            train(config, tmp_path / "run")
        assert small.steps(tmp_path / "run")[-1] == step
    train(config, tmp_path / "run")
    assert_equal(whole, tmp_path / "run")
