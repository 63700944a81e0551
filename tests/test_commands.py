"""train, evaluate and sample, as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glowdiff.cli import evaluate, sample, train
from tests import small
from tests.cli.typed import Result, typed

MAINS = {"train": train.main, "sample": sample.main, "evaluate": evaluate.main}
FOUR = """
import json, sys
from tests.cli.typed import typed
from tests.test_commands import MAINS
print(json.dumps([typed(MAINS[name], *words) for name, *words in json.loads(sys.argv[1])]))
"""


def run(name: str, *words: str) -> Result:
    return typed(MAINS[name], *words)


DIGITS = "--config=configs/glow/digits.py:smoke"
MISTAKES = {
    "a misspelt key": (["train", DIGITS, "--config.train.stpes=3"], "there is no train.stpes. Did you mean train.st"),
    "a misspelt key of the model": (
        ["train", DIGITS, "--config.model.dept=3"],
        "there is no model.dept. Did you mean model.depth?",
    ),
    "a word for a number": (["train", DIGITS, "--config.train.steps=many"], "steps"),
    "a value that does not exist": (
        ["train", DIGITS, "--config.optimizer.name=sgd"],
        "optimizer.name is 'sgd'; it must be one of adam, adamw, adamax.",
    ),
    "a rate without end": (["train", DIGITS, "--config.optimizer.learning_rate=inf"], "must be positive, and finite."),
    "a data set that does not exist": (["train", DIGITS, "--config.data.name=digts"], "did you mean digits"),
    "images that cannot be halved": (
        ["train", DIGITS, "--config.model.levels=4"],
        "model.levels=4 cannot halve 4 times: the nearest sizes that work are 16, and model.levels=3 works as it is.",
    ),
    "a batch that the micro-batches do not divide": (
        ["train", DIGITS, "--config.train.accumulate=3"],
        "train.batch is 8, which train.accumulate=3 does not divide.",
    ),
    "a batch that the devices cannot share": (
        ["train", DIGITS, "--config.train.batch=10"],
        "train.batch is 10, which 4 devices cannot share evenly; nearest that work: 8 or 12.",
    ),
    "a mesh of more devices than there are": (
        ["train", DIGITS, "--config.mesh.fsdp=3"],
        "mesh.fsdp=3 does not make the 4 devices there are; with mesh.data=-1, mesh.fsdp may be any divisor of 4.",
    ),
    "double precision that is off": (["train", DIGITS, "--config.dtype=float64"], "JAX_ENABLE_X64=1"),
    "a variant that does not exist": (
        ["train", "--config=configs/glow/digits.py:smok"],
        "this configuration has no variant 'smok'; there is only :smoke.",
    ),
    "a configuration that does not exist": (
        ["train", "--config=configs/glow/digit.py"],
        "configs/glow/digit.py, which is neither a file nor the name",
    ),
    "nothing to evaluate": (
        ["evaluate"],
        "is not a workdir of glowdiff: it holds no config.json. Did train.py write it?",
    ),
    "nothing to sample": (["sample"], "is not a workdir of glowdiff"),
    "an output of another kind": (["sample", "--out=a.jpg"], "--out is a.jpg; it must end in .png or .npz."),
    "a misspelt flag": (["sample", "--temprature=1"], "sample has no --temprature. Did you mean --temperature?"),
    "no samples": (["sample", "--num=0"], "--num is 0; it must be at least 1."),
    "a seed that is another's": (["sample", "--seed=4294967296"], "--seed is 4294967296; it must be from 0 to 4294967"),
    "a prompt in pieces": (
        ["sample", "--prompt=red", "heart"],
        "If it belongs to --prompt, put the whole in quotes: --prompt='red heart'.",
    ),
    "a word too many": (["train", DIGITS, "extra"], "what is 'extra'? It belongs to no flag of glowdiff train"),
    "a workdir twice": (["evaluate", "--workdir=a"], "--workdir is given twice"),
    "a scale without a guide": (["sample", "--clip_scale=2"], "--clip_scale is given, but no --clip."),
    "a temperature that is none": (["sample", "--temperature=none"], "--temperature is 'none'; it must be a number."),
}


OF_DEVICES = {name for name, (_, message) in MISTAKES.items() if "4 devices" in message}


@pytest.fixture(scope="module")
def mistakes(tmp_path_factory) -> tuple[dict[str, Result], Path]:
    folder = tmp_path_factory.mktemp("mistakes")
    lines = {name: [*line, f"--workdir={folder / 'none'}"] for name, (line, _) in MISTAKES.items()}
    many = json.dumps([lines[name] for name in OF_DEVICES])
    process = small.command("-c", FOUR, many, **small.with_devices(4))
    assert process.returncode == 0, process.stderr
    results = dict(zip(OF_DEVICES, (Result(*fields) for fields in json.loads(process.stdout)), strict=True))
    return results | {name: run(*line) for name, line in lines.items() if name not in OF_DEVICES}, folder


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_that_says_what_to_change(mistakes, name):
    assert MISTAKES[name][1] in mistakes[0][name].error


def test_a_mistake_leaves_nothing_behind(mistakes):
    assert list(mistakes[1].iterdir()) == []


def test_training_says_what_it_trains_and_how_far_it_is(trained):
    for expected in (
        "glow (float32)", "digits: 8 x 8 x 1, 17 levels, 10 classes", "1,437 to train on, 360 to test on", "1 x cpu",
        "data 1 x fsdp 1", "Compiling the train step", "MiB of temporaries per device", "step 4/4", "bits/dim",
        "images/s", "left",
    ):  # fmt: skip
        assert expected in trained.output, expected
    assert trained.output.splitlines()[-1].startswith("test bits/dim: ")


def test_training_leaves_everything_in_the_workdir(trained):
    names = {path.name for path in trained.workdir.iterdir()}
    assert names == {"config.json", "checkpoints", "last_step", "metrics.jsonl", "events", "samples"}
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
    sample = ["sample", f"--workdir={trained.workdir}"]
    lines = {
        "evaluate": ["evaluate", f"--workdir={trained.workdir}"],
        "in batches": ["evaluate", f"--workdir={trained.workdir}", "--batch=50"],
        "raw": ["evaluate", f"--workdir={trained.workdir}", "--noema", "--step=2"],
        "no step": ["evaluate", f"--workdir={trained.workdir}", "--step=99"],
        "png": [*sample, "--num=9", f"--out={folder}/deep/er/samples.png", "--temperature=0.7"],
        "npz": [*sample, "--num=9", f"--out={folder}/samples.npz"],
        "small batches": [*sample, "--num=9", f"--out={folder}/batches.npz", "--batch=4"],
        "seed": [*sample, "--num=9", f"--out={folder}/seed.npz", "--seed=5"],
        "label": [*sample, "--num=9", f"--out={folder}/label.npz", "--label=3"],
    }
    return {name: run(*line) for name, line in lines.items()}, folder


def test_evaluation_prints_the_figure_of_the_whole_test_set(outputs):
    results = outputs[0]
    assert results["evaluate"].code == 0, results["evaluate"].err
    assert results["evaluate"].out.startswith("test bits/dim: ")
    assert results["evaluate"].out.endswith("(360 images, step 4)\n")
    assert results["in batches"].out == results["evaluate"].out
    assert results["raw"].out.endswith("(360 images, step 2)\n")
    assert results["raw"].out.split()[2] != results["evaluate"].out.split()[2]


def test_a_step_that_is_not_there_is_an_error_that_names_those_that_are(outputs):
    error = outputs[0]["no step"].error
    assert error.startswith("error: There is no step 99 in ")
    assert "it holds [2, 4]" in error


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
    assert outputs[0]["label"].error == (
        "error: label is given, but this model was not trained with labels (model.class_conditional).\n"
    )
    assert not (outputs[1] / "label.npz").exists()


def test_rerunning_another_configuration_is_an_error_that_names_the_keys(trained):
    arguments = [
        "train",
        DIGITS,
        f"--workdir={trained.workdir}",
        "--config.train.batch=16",
        "--config.model.lu=False",
    ]
    before = {path: path.read_bytes() for path in trained.workdir.rglob("*") if path.is_file()}
    assert "model.lu was True, now False; train.batch was 8, now 16" in run(*arguments).error
    assert {path: path.read_bytes() for path in trained.workdir.rglob("*") if path.is_file()} == before


def test_a_dry_run_checks_and_shows_the_table_and_writes_nothing(tmp_path):
    result = run("train", DIGITS, f"--workdir={tmp_path / 'run'}", "--dry_run")
    assert result.code == 0, result.err
    for expected in ("parameters", "state per device", "8 images, 8 per device"):
        assert expected in result.out
    assert "step 1" not in result.out
    assert list(tmp_path.iterdir()) == []
