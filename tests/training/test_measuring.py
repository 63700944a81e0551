"""`eval.metrics`: samples are measured while a model is trained, as they would be by hand afterwards."""

from __future__ import annotations

import json

import numpy as np
import pytest

from glowdiff.cli import evaluate, train
from glowdiff.errors import ConfigError
from glowdiff.importers.feature_network import find
from glowdiff.metrics.look import Look
from glowdiff.networks.feature_networks import FEATURE_NETWORKS
from glowdiff.training import loop
from glowdiff.training.experiment import build
from glowdiff.training.measuring import Measuring
from tests import small, toys
from tests.cli.typed import typed
from tests.metrics import tiny

FIGURE = "fid_inception_tensorflow_20_vs_toy_train"
KEYS = {"eval__metrics": "fid,prdc", "eval__samples": 20, "eval__metrics_every": 2, "eval__every": 0}


@pytest.fixture
def network(tmp_path, monkeypatch):
    monkeypatch.setenv("GLOWDIFF_DATA", str(tmp_path / "data"))
    monkeypatch.setitem(FEATURE_NETWORKS, "inception", tiny.TinyInception)
    return tiny.workdir(tmp_path / "network", "inception")


@pytest.fixture
def run(toy, network, tmp_path):
    """Train the toy in a workdir of this name."""

    def trained(name, **changes):
        config = toys.toy_config(toy, **KEYS, eval__features=str(network), **changes)
        loop.train(config, tmp_path / name, network=find(str(network)))
        return small.log(tmp_path / name)

    return trained


def test_figures_are_those_of_the_command(run, network, tmp_path, toy):
    lines = run("run", seed=3, train__ema_decay=0.5)
    measured = [line for line in lines if FIGURE in line]
    assert [line["step"] for line in measured] == [2, 4]
    assert {f"{name}_{FIGURE.removeprefix('fid_')}" for name in ("precision", "recall", "density", "coverage")} <= {
        *measured[0]
    }
    for step, line in zip((2, 4), measured, strict=True):
        flags = {"workdir": tmp_path / "run", "features": network, "metrics": "fid,prdc", "samples": 20, "step": step}
        result = typed(evaluate.main, *(f"--{name}={value}" for name, value in (flags | {"seed": 3}).items()))
        figures = json.loads(result.out.splitlines()[-1])["figures"]
        assert {name: line[name] for name in figures} == pytest.approx(figures, rel=1e-6)
    assert measured[0][FIGURE] != measured[1][FIGURE]
    events = b"".join(path.read_bytes() for path in (tmp_path / "run" / "events").iterdir())
    assert FIGURE.encode() in events


def test_an_interrupted_run_measures_what_an_uninterrupted_one_does(run, tmp_path, monkeypatch):
    whole = run("whole")
    # SIGTERM at a step at which a measurement is due, which the next run makes up for.
    stop = iter([False, True])
    with monkeypatch.context() as patch:
        patch.setattr(loop.Preemption, "requested", lambda self, step: next(stop))
        assert [line for line in run("parts") if FIGURE in line] == []
    assert small.steps(tmp_path / "parts") == [2]
    assert run("parts") == whole


def test_the_reference_is_looked_at_once(run, monkeypatch):
    found, look = [], Look.__call__
    monkeypatch.setattr(
        Look, "__call__", lambda self, images, *rest: found.append(images.name) or look(self, images, *rest)
    )
    run("one")
    run("other", seed=1)
    assert found == ["toy_train", *["samples"] * 4]


def test_samples_that_are_not_finite_leave_no_figure_and_training_goes_on(run, tmp_path, capsys):
    run("run", model__nonfinite=1)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line[FIGURE] for line in lines if FIGURE in line] == [None, None]
    assert "after step 2, 3 samples are not finite, so nothing is measured" in capsys.readouterr().out


def test_what_cannot_be_measured_is_said_before_anything_is_trained(toy, network, tmp_path):
    glow, features = "--config=glow/digits:smoke", f"--config.eval.features={network}"
    for words, message in (
        ([glow, "--config.eval.metrics=fid"], "eval.metrics is 'fid', but eval.features is empty; it names"),
        ([glow, features], "but eval.metrics is empty; it names what is measured"),
        ([glow, features, "--config.eval.metrics=fid,fdi"], "eval.metrics is 'fdi'; it must be one of fid,"),
        ([glow, features, "--config.eval.metrics=fd"], "eval.metrics has fd, which is what the distance is called of"),
        ([glow, features, "--config.eval.metrics=kid", "--config.eval.samples=99"],
         "eval.metrics is 'kid': eval.samples are 99, but kid needs at least 1,000."),
        ([glow, features, "--config.eval.metrics=fid", "--config.eval.samples=0"], "eval.samples is 0; it must be"),
        ([glow, features, "--config.eval.metrics=fid", "--config.eval.metrics_every=-1"], "eval.metrics_every is -1;"),
        ([glow, "--config.eval.metrics=fid", "--config.eval.features=incepton:a"], "eval.features is incepton:a,"),
        (["--config=adm/classifier_digits:smoke", features, "--config.eval.metrics=fid"],
         "eval.metrics is 'fid', but a model of method classifier draws no samples."),
    ):  # fmt: skip
        result = typed(train.main, *words, f"--workdir={tmp_path / 'run'}", "--dry_run")
        assert message in result.err, (words, result)
        assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="but train\\(\\) was given no network; pass network="):
        loop.train(toys.toy_config(toy, **KEYS, eval__features=str(network)), tmp_path / "run")


def test_what_samples_are_told_is_that_of_test_images(network):
    """A model that enlarges images is told small ones of the test set."""
    config = small.diffusion_config(
        model__class_conditional=False, model__label_dropout=0.0, model__low_res=4, eval__metrics="is_adm",
        eval__features=str(network), eval__samples=8,
    )  # fmt: skip
    experiment = build(config)
    measuring = Measuring(experiment, find(str(network)))
    told = []

    def drawer(variables, keys, n, *, cond, **options):
        told.append(cond["low_res"])
        raise InterruptedError

    with pytest.raises(InterruptedError):
        measuring(drawer, {})
    images = np.stack([experiment.dataset.test[row]["image"] for row in np.random.default_rng(0).permutation(360)[:8]])
    shrunk = images.reshape(8, 4, 2, 4, 2, 1).mean((2, 4))
    assert told[0].dtype == np.uint8
    assert np.abs(told[0] - shrunk).max() <= 0.5
