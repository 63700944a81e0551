"""The benchmark commands run, and end with one line of JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.synthetic import KNOWN, known_spec, synthetic
from benchmarks.timing import milliseconds
from glowdiff.catalog.parse import defaults, parse
from glowdiff.config.sections import DataConfig
from glowdiff.errors import ConfigError

ROOT = Path(__file__).parents[2]
SMALL = ("--config.model.depth=1", "--config.model.levels=1", "--steps=3", "--warmup=1")


def run(*command):
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("mode", ["train", "sample"])
def test_throughput_prints_a_line_of_json(mode):
    config = "configs/glow/digits.py:smoke"
    done = run("benchmarks/throughput.py", f"--config={config}", f"--mode={mode}", "--synthetic", "--batch=4", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "synthetic: random images" in done.stdout
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["mode"] == mode
    assert result["batch"] == 4
    for key in ("compile_seconds", "ms_median", "ms_p90", "images_per_second", "flops", "peak_tflops", "program_bytes"):
        assert result[key] > 0, key
    assert result["data_wait"] is None if mode == "sample" else 0 <= result["data_wait"] <= 1


def test_data_that_is_not_there_suggests_random_images(tmp_path):
    done = run(
        "benchmarks/throughput.py", "--config=configs/glow/cifar10.py:smoke", f"--config.data.dir={tmp_path}", *SMALL
    )
    assert done.returncode == 1
    assert "--synthetic" in done.stderr


def test_synthetic_images_have_the_shape_of_the_set():
    settings = defaults("glow")
    settings.data.name = "downsampled_imagenet/32x32"
    dataset = synthetic(parse(settings))
    assert dataset.train[0]["image"].shape == (32, 32, 3)
    assert dataset.spec.train_size == 1_281_149
    assert known_spec(DataConfig(name="lsun/bedroom", size=32)).shape == (32, 32, 3)
    with pytest.raises(ConfigError, match="cifar10"):
        known_spec(DataConfig(name="no_such_set"))


def test_models_that_read_captions_are_given_tokens():
    settings = defaults("clip")
    settings.data.name = "openmoji"
    dataset = synthetic(parse(settings))
    assert dataset.spec.captions
    cond = dataset.train[0]["cond"]
    assert {name: (array.shape, array.dtype) for name, array in cond.items()} == {
        "tokens": ((77,), np.int32), "mask": ((77,), bool)
    }  # fmt: skip


def test_every_configuration_has_a_known_set():
    names = {
        path.read_text().partition('data.update(name="')[2].partition('"')[0] for path in ROOT.glob("configs/*/*.py")
    }
    assert names - {"", "folder", "arrays"} <= set(KNOWN)


def test_milliseconds():
    assert milliseconds([0.001] * 9 + [0.002]) == pytest.approx({"ms_median": 1.0, "ms_p90": 1.1})
