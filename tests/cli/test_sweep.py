"""`evaluate.py --metrics --sweep`: a table, a line of JSON for each value, and a plot; numbers compile once."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from glowdiff.cli import evaluate, sweep
from glowdiff.networks.feature_networks import FEATURE_NETWORKS
from glowdiff.pictures.plot import COLOURS, Line, Panel, plot
from tests import small, toys
from tests.cli.typed import Result, typed
from tests.metrics import tiny


@pytest.fixture
def place(tmp_path, toy, monkeypatch):
    """Commands on a toy whose samples have a temperature."""
    monkeypatch.setenv("GLOWDIFF_DATA", str(tmp_path / "data"))
    monkeypatch.setitem(FEATURE_NETWORKS, "inception", tiny.TinyInception)
    workdir = small.untrained_workdir(tmp_path / "model", toys.toy_config(toy))
    network = tiny.workdir(tmp_path / "network", "inception")

    def measure(*words: str) -> Result:
        common = (f"--workdir={workdir}", f"--features={network}", "--samples=20", "--batch=8")
        return typed(evaluate.main, *common, "--metrics=fid,prdc", *words)

    return measure


def said(result: Result) -> list[dict]:
    assert result.code == 0, result.err
    return [json.loads(line) for line in result.out.splitlines() if line.startswith("{")]


def test_every_value_is_measured_as_by_a_command_of_its_own(place, tmp_path):
    result = place("--sweep=temperature=0.5,1,2", f"--keep={tmp_path / 'kept'}")
    lines = said(result)
    assert [line["temperature"] for line in lines] == [0.5, 1, 2]
    for line in lines:
        (alone,) = said(place(f"--temperature={line['temperature']}"))
        assert line["figures"] == pytest.approx(alone["figures"], rel=1e-6)
        assert line["of"] == alone["of"]
    assert len({line["figures"]["fid_inception_tensorflow_20_vs_toy_train"] for line in lines}) == 3
    assert ", temperature=0.5, 1, 2\n" in result.out
    table = result.out[result.out.rindex("}\n") + 2 :].splitlines()
    assert table[0].split() == ["temperature", "fid", "precision", "recall", "density", "coverage"]
    assert [row.split()[0] for row in table[1:4]] == ["0.5", "1", "2"]
    assert float(table[2].split()[1]) == pytest.approx(next(iter(lines[1]["figures"].values())), rel=1e-5)
    assert "fid_inception_tensorflow_20_vs_toy_train" in table[4]
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [f"temperature={t}" for t in (0.5, 1.0, 2.0)]
    written = tmp_path / "model" / "sweeps" / "temperature.png"
    assert table[-1] == f"plot       {written}"
    with Image.open(written) as picture:
        assert picture.size[0] > 800  # what is traded for what, and each figure


def test_numbers_compile_once(place):
    counts = []
    for values in ("0.5,1", "0.5,1,2,3"):
        with small.compilations() as found:
            place(f"--sweep=temperature={values}")
        counts.append(len(found))
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sweep=temperature"], "--sweep is 'temperature'; it must be OPTION=VALUE,VALUE, such as"),
        (["--sweep=temprature=1,2"], "--sweep is of temprature, which is no option of samples. Did you mean"),
        (["--sweep=temperature=1"], "--sweep has one value; type --temperature=1, or several values"),
        (["--sweep=temperature=1,2,1"], "--sweep has 1 more than once."),
        (["--sweep=temperature=1,hot"], "--temperature is 'hot'; it must be a number."),
        (["--sweep=temperature=1,-2"], "temperature is -2.0; it must be"),
        (["--sweep=temperature=1,2", "--temperature=1"], "--temperature is given, and --sweep of temperature"),
        (["--sweep=clip_scale=1,2"], "--clip_scale is given, but no --clip."),
        (["--sweep=sampler=ddim,heun"], "sampler is given, on which the samples of this model do not depend"),
        (["--sweep=temperature=1,2", "--plot=plot.jpg"], "--plot is plot.jpg; it must end in .png."),
        (["--plot=plot.png"], "--plot is given, but no --sweep"),
    ],
)
def test_what_cannot_be_swept_is_said_before_anything_is_drawn(place, words, message):
    assert message in place(*words).error


def test_a_sweep_needs_a_model_and_metrics(tmp_path):
    words = ["--metrics=fid", "--features=a", "--samples_file=b.npz", "--sweep=steps=1,2"]
    assert "--sweep is given, but no --workdir whose model could draw." in typed(evaluate.main, *words).error
    assert "--sweep is given, but no --metrics." in typed(evaluate.main, "--workdir=a", "--sweep=steps=1,2").error


def test_steps_may_have_commas_of_their_own():
    known = evaluate.flags()
    words = ["--workdir=a", "--metrics=fid", "--sweep=steps=10,10,5;250"]
    found = sweep.read(known, words, known.parse(words))
    assert [point.steps for point in found.points] == ["10,10,5", "250"]
    words[-1] = "--sweep=sampler=ddim,heun"
    found = sweep.read(known, words, known.parse(words))
    assert [point.sampler for point in found.points] == ["ddim", "heun"]


# ---- Plots.


def drawn(picture: np.ndarray) -> np.ndarray:
    """Where the first line is."""
    return (np.abs(picture.astype(int) - COLOURS[0]) < 32).all(-1)


def test_points_stand_where_their_values_are():
    points = [(0.0, 0.0), (1.0, 1.0), (2.0, float("nan")), (3.0, 3.0)]
    picture = plot([Panel("x", "y", [Line("", points)])])
    rows, columns = np.nonzero(drawn(picture))
    assert len(rows) > 0
    # From the lower left to the upper right, in a straight line, whatever is missing.
    assert np.corrcoef(rows, columns)[0, 1] < -0.99


def test_values_that_are_far_apart_stand_at_even_distances():
    def middles(**more):
        picture = plot([Panel("x", "y", [Line("", [(1, 0), (100, 0), (10_000, 0)])], **more)])
        columns = np.nonzero(drawn(picture).sum(0) > 4)[0]  # dots are higher than lines
        return [group.mean() for group in np.split(columns, np.nonzero(np.diff(columns) > 1)[0] + 1)]

    left, middle, right = middles(far=True)
    assert middle - left == pytest.approx(right - middle, abs=2)
    assert len(middles()) == 2  # 1 and 100 are one dot
