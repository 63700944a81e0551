"""train.py, evaluate.py and sample.py, as a person runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from tests import small


class Result(NamedTuple):
    code: int
    out: str
    err: str


# Importing takes seconds: it is done once, and a child per command goes on from there.
FORKS = """
import json, os, runpy, sys, tempfile, traceback
import absl.app, ml_collections, glowdiff, glowdiff.training.loop

results = []
for line in json.loads(sys.argv[1]):
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = os.fork()
        if not child:
            os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
            code, sys.argv = 0, line
            try:
                runpy.run_path(line[0], run_name="__main__")
            except SystemExit as stop:
                code = stop.code or 0
            except BaseException:
                traceback.print_exc()
                code = 70
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0), err.seek(0)
        results.append([code, out.read(), err.read()])
print(json.dumps(results))
"""


def run_all(lines: list[list[str]], **environment: str) -> list[Result]:
    result = small.command("-c", FORKS, json.dumps(lines), **environment)
    assert result.returncode == 0, result.stderr
    return [Result(*fields) for fields in json.loads(result.stdout)]


DIGITS = "--config=configs/glow/digits.py:smoke"
MISTAKES = {
    "a misspelt key": (["train.py", DIGITS, "--config.train.stpes=3"], "there is no stpes. Did you mean steps?"),
    "a misspelt key of the model": (
        ["train.py", DIGITS, "--config.model.dept=3"],
        "there is no dept. Did you mean depth?",
    ),
    "a word for a number": (["train.py", DIGITS, "--config.train.steps=many"], "steps"),
    "a value that does not exist": (
        ["train.py", DIGITS, "--config.optimizer.name=sgd"],
        "optimizer.name is 'sgd'; it must be one of adam, adamw, adamax.",
    ),
    "a data set that does not exist": (["train.py", DIGITS, "--config.data.name=digts"], "did you mean digits"),
    "images that cannot be halved": (
        ["train.py", DIGITS, "--config.model.levels=4"],
        "model.levels=4 cannot halve 4 times: the nearest sizes that work are 16, and model.levels=3 works as it is.",
    ),
    "a batch that the micro-batches do not divide": (
        ["train.py", DIGITS, "--config.train.accumulate=3"],
        "train.batch is 8, which train.accumulate=3 does not divide.",
    ),
    "a batch that the devices cannot share": (
        ["train.py", DIGITS, "--config.train.batch=10"],
        "train.batch is 10, which 4 devices cannot share evenly; nearest that work: 8 or 12.",
    ),
    "a mesh of more devices than there are": (
        ["train.py", DIGITS, "--config.mesh.fsdp=3"],
        "mesh.fsdp=3 does not make the 4 devices there are; with mesh.data=-1, mesh.fsdp may be any divisor of 4.",
    ),
    "double precision that is off": (["train.py", DIGITS, "--config.dtype=float64"], "JAX_ENABLE_X64=1"),
    "a variant that does not exist": (
        ["train.py", "--config=configs/glow/digits.py:smok"],
        "this configuration has no variant 'smok'; there is only :smoke.",
    ),
    "a configuration that does not exist": (["train.py", "--config=configs/glow/digit.py"], "configs/glow/digit.py"),
    "nothing to evaluate": (
        ["evaluate.py"],
        "is not a workdir of glowdiff: it holds no config.json. Did train.py write it?",
    ),
    "nothing to sample": (["sample.py"], "is not a workdir of glowdiff"),
    "an output of another kind": (["sample.py", "--out=a.jpg"], "--out is a.jpg; it must end in .png or .npz."),
    "a misspelt flag": (["sample.py", "--temprature=1"], "Unknown command line flag 'temprature'"),
    "no samples": (["sample.py", "--num=0"], "num"),
}


@pytest.fixture(scope="module")
def mistakes(tmp_path_factory) -> tuple[dict[str, Result], Path]:
    folder = tmp_path_factory.mktemp("mistakes")
    lines = [[*line, f"--workdir={folder / 'none'}"] for line, _ in MISTAKES.values()]
    return dict(zip(MISTAKES, run_all(lines, **small.with_devices(4)), strict=True)), folder


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_that_says_what_to_change(mistakes, name):
    result, message = mistakes[0][name], MISTAKES[name][1]
    assert result.code == 1
    assert result.out == ""
    assert result.err.startswith("error: ")
    assert len(result.err.splitlines()) == 1
    assert message in result.err


def test_a_mistake_leaves_nothing_behind(mistakes):
    assert list(mistakes[1].iterdir()) == []


def test_training_says_what_it_trains_and_how_far_it_is(trained):
    for expected in (
        "glow (float32)", "digits: 8 x 8 x 1, 17 levels, 10 classes", "1,437 to train on, 360 to test on", "1 x cpu",
        "data 1 x fsdp 1", "Compiling the train step", "Compiled in", "step 4/4", "bits/dim", "images/s", "left",
    ):  # fmt: skip
        assert expected in trained.output, expected
    assert trained.output.splitlines()[-1].startswith("test bits/dim: ")


def test_training_leaves_everything_in_the_workdir(trained):
    names = {path.name for path in trained.workdir.iterdir()}
    assert names == {"config.json", "checkpoints", "metrics.jsonl", "events", "samples"}
    assert small.steps(trained.workdir) == [2, 4]
    assert {path.name for path in trained.workdir.glob("samples/*")} == {"2.png", "4.png"}
    assert len(list(trained.workdir.glob("events/*tfevents*"))) == 1
    lines = [json.loads(line) for line in (trained.workdir / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert set(lines[0]) >= {"bits_per_dim", "loss", "grad_norm", "learning_rate", "skipped", "clipped"} | small.TIMING
    assert ["test_bits_per_dim" in line for line in lines] == [False, True, False, True]


@pytest.fixture(scope="module")
def outputs(trained, tmp_path_factory) -> tuple[dict[str, Result], Path]:
    folder = tmp_path_factory.mktemp("outputs")
    sample = ["sample.py", f"--workdir={trained.workdir}"]
    lines = {
        "evaluate": ["evaluate.py", f"--workdir={trained.workdir}"],
        "in batches": ["evaluate.py", f"--workdir={trained.workdir}", "--batch=50"],
        "raw": ["evaluate.py", f"--workdir={trained.workdir}", "--noema", "--step=2"],
        "no step": ["evaluate.py", f"--workdir={trained.workdir}", "--step=99"],
        "png": [*sample, "--num=9", f"--out={folder}/deep/er/samples.png", "--temperature=0.7"],
        "npz": [*sample, "--num=9", f"--out={folder}/samples.npz"],
        "small batches": [*sample, "--num=9", f"--out={folder}/batches.npz", "--batch=4"],
        "seed": [*sample, "--num=9", f"--out={folder}/seed.npz", "--seed=5"],
        "label": [*sample, "--num=9", f"--out={folder}/label.npz", "--label=3"],
    }
    return dict(zip(lines, run_all(list(lines.values())), strict=True)), folder


def test_evaluation_prints_the_figure_of_the_whole_test_set(outputs):
    results = outputs[0]
    assert results["evaluate"].code == 0, results["evaluate"].err
    assert results["evaluate"].out.startswith("test bits/dim: ")
    assert results["evaluate"].out.endswith("(360 images, step 4)\n")
    assert results["in batches"].out == results["evaluate"].out
    assert results["raw"].out.endswith("(360 images, step 2)\n")
    assert results["raw"].out.split()[2] != results["evaluate"].out.split()[2]


def test_a_step_that_is_not_there_is_an_error_that_names_those_that_are(outputs):
    result = outputs[0]["no step"]
    assert result.code == 1
    assert result.err.startswith("error: There is no step 99 in ")
    assert "it holds [2, 4]" in result.err


def test_samples_as_a_picture(outputs):
    result, folder = outputs[0]["png"], outputs[1]
    assert result.code == 0, result.err
    assert result.out.startswith("9 samples of ")
    with Image.open(folder / "deep/er/samples.png") as picture:
        assert picture.mode == "RGB"
        assert picture.width == picture.height >= 500  # 3 x 3 samples, enlarged for the eye


def test_samples_as_arrays(outputs):
    results, folder = outputs
    files = {}
    for name in ("samples", "batches", "seed"):
        with np.load(folder / f"{name}.npz") as file:
            files[name] = dict(file)
    first = files["samples"]
    assert set(first) == {"arr_0", "levels"}
    assert (first["arr_0"].shape, first["arr_0"].dtype, int(first["levels"])) == ((9, 8, 8, 1), np.uint8, 17)
    assert first["arr_0"].max() <= 16
    assert np.abs(files["batches"]["arr_0"].astype(int) - first["arr_0"]).max() <= 1
    assert (files["seed"]["arr_0"] != first["arr_0"]).any()
    assert results["npz"].code == results["small batches"].code == results["seed"].code == 0


def test_a_label_for_a_model_without_labels_is_an_error(outputs):
    result = outputs[0]["label"]
    assert result.code == 1
    assert result.err == (
        "error: a label was given, but this model was not trained with labels (model.class_conditional).\n"
    )
    assert not (outputs[1] / "label.npz").exists()


def test_rerunning_another_configuration_is_an_error_that_names_the_keys(trained):
    arguments = [
        "train.py",
        DIGITS,
        f"--workdir={trained.workdir}",
        "--config.train.batch=16",
        "--config.model.lu=False",
    ]
    before = {path: path.read_bytes() for path in trained.workdir.rglob("*") if path.is_file()}
    (result,) = run_all([arguments])
    assert result.code == 1
    assert "model.lu was True, now False; train.batch was 8, now 16" in result.err
    assert len(result.err.splitlines()) == 1
    assert {path: path.read_bytes() for path in trained.workdir.rglob("*") if path.is_file()} == before


def test_a_dry_run_checks_and_shows_the_table_and_writes_nothing(tmp_path):
    result = small.command("train.py", DIGITS, f"--workdir={tmp_path / 'run'}", "--dry_run")
    assert result.returncode == 0, result.stderr
    for expected in ("parameters", "state per device", "8 images, 8 per device"):
        assert expected in result.stdout
    assert "step 1" not in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_help_shows_how_to_use_each_command():
    names = ["train.py", "sample.py", "evaluate.py"]
    for name, result in zip(names, run_all([[name, "--helpshort"] for name in names]), strict=True):
        assert f"python {name}" in result.out
        assert "--workdir" in result.out
