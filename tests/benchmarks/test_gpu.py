"""`benchmarks/gpu.py` rehearsed at toy size on a CPU, as on a machine that has no library that reads data sets."""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.chip.plan import Measurement, Plan
from benchmarks.chip.settings import PUBLISHED, configuration
from benchmarks.chip.table import markdown
from glowdiff.catalog.parse import parse

ROOT = Path(__file__).parents[2]
HIDDEN = ("grain", "tensorflow_datasets", "ml_collections", "tensorboardX", "array_record", "torch")
TIMED = ("small_unet", "glide_dpmpp")  # one of each kind: all of them take a minute
BLOCKER = f"""
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HIDDEN}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
"""


@pytest.mark.parametrize("name", PUBLISHED)
def test_settings_are_those_of_the_configurations(name):
    published = import_module(f"configs.{name.replace('/', '.')}").get_config()
    assert configuration(PUBLISHED[name]) == parse(published)


def test_rehearsal(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)
    out, page = tmp_path / "toy.json", tmp_path / "results.md"
    only = ",".join((*TIMED, "profile_small_unet", "diffusers"))
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", "--toy", f"--only={only}", f"--out={out}", f"--results={page}"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    rows = result["rows"]
    assert set(rows) == {"ceilings", *TIMED, "profile_small_unet", "diffusers"}
    assert rows["diffusers"] == {"error": "ModuleNotFoundError: No module named 'torch'"}
    assert rows["ceilings"]["tflops_per_second"] > 0
    for name in TIMED:
        assert all(rows[name][key] > 0 for key in ("ms", "tflops", "of_shown_peak", "program_bytes")), rows[name]
    assert rows["small_unet"]["steps_skipped"] == 0
    assert 0 < rows["profile_small_unet"]["matrix_share"] < 1
    assert page.read_text() == f"<!-- gpu cpu -->\n{out.with_suffix('.md').read_text()}<!-- end -->\n"
    assert page.read_text().count("\n| UNet of 9.9M") == 1
    assert "Not measured:\n- the same network and loss, diffusers" in page.read_text()


def test_what_fails_or_finds_no_time_is_recorded_and_the_rest_goes_on():
    kept = {}

    def fail():
        raise ValueError("out of memory\nmore")

    plan = Plan(0.05, lambda name, row: kept.update({name: row}))
    plan.run([
        Measurement("long", lambda: [], lambda _: {"ms": 1}, preparing=100),
        Measurement("broken", lambda: [fail], lambda _: {"ms": 1}, preparing=0, measuring=0),
        Measurement("good", lambda: [lambda: 7], lambda results: {"ms": results[0]}, preparing=0, measuring=0),
        Measurement("later", lambda: [], lambda _: {"ms": 2}, group=1, after="good", preparing=0, measuring=0),
    ])  # fmt: skip
    assert kept["long"]["skipped"].startswith("3 s were left")
    assert kept["broken"] == {"error": "ValueError: out of memory"}
    assert kept["good"] == {"compile_seconds": 0.0, "ms": 7}
    assert kept["later"] == {"ms": 2}


def test_the_published_table_is_made_of_the_published_figures():
    for file in (ROOT / "docs" / "data" / "gpu").glob("*.json"):
        assert file.with_suffix(".md").read_text() == markdown(json.loads(file.read_text()))
