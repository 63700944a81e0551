"""Measuring in two processes: what one process measures, in training and afterwards, and one that prints."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

from glowdiff.cli import evaluate
from glowdiff.importers.feature_network import find
from glowdiff.networks.feature_networks import FEATURE_NETWORKS
from glowdiff.training.loop import train
from tests import small, toys
from tests.cli.typed import typed
from tests.metrics import tiny

# Trains the toy, whose samples are measured, and measures them once more with two commands; 22 make no whole batches.
PROCESSES = """
import os, sys
import jax
jax.distributed.initialize(sys.argv[2], 2, int(sys.argv[1]))
del os.environ["JAX_COORDINATOR_ADDRESS"]  # the commands need not join
from pathlib import Path
from glowdiff.catalog import methods
from glowdiff.cli import evaluate
from glowdiff.importers.feature_network import find
from glowdiff.networks.feature_networks import FEATURE_NETWORKS
from glowdiff.training.loop import train
from tests import small, toys
from tests.metrics import test_processes, tiny
methods.METHODS["toy"] = methods.Entry(toys.ToyConfig, toys.toy_method)
FEATURE_NETWORKS["inception"] = tiny.TinyInception
folder = Path(sys.argv[3])
assert jax.device_count() == 4
network, data = folder / "network", toys.ToyData(folder / "data.npz", write=False)
train(test_processes.config(data, network), folder / "two", network=find(str(network)))
for _ in range(2):  # the second time from what is kept
    assert evaluate.main(test_processes.words(folder / "two", network, folder / "kept")) == 0
sys.exit(evaluate.main(test_processes.words(folder / "two", network, folder / "kept", "--seed=1")))
"""


def config(data, network):
    return toys.toy_config(
        data, eval__metrics="fid,prdc", eval__features=str(network), eval__samples=22, eval__metrics_every=2
    )


def words(workdir, network, kept, *more):
    common = {"workdir": workdir, "features": network, "metrics": "fid,prdc", "samples": 22, "batch": 8, "keep": kept}
    return [*(f"--{name}={value}" for name, value in common.items()), *more]


@pytest.fixture
def folder(tmp_path, toy, monkeypatch):
    """With a run of one process, and of two."""
    monkeypatch.setitem(FEATURE_NETWORKS, "inception", tiny.TinyInception)
    network = tiny.workdir(tmp_path / "network", "inception")
    monkeypatch.setenv("GLOWDIFF_DATA", str(tmp_path / "prepared_one"))
    toy.path.rename(tmp_path / "data.npz")
    toy.path = tmp_path / "data.npz"
    train(config(toy, network), tmp_path / "one", network=find(str(network)))
    return tmp_path


def test_two_processes_measure_what_one_does(folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {
        **os.environ, **small.with_devices(2), "GLOWDIFF_DATA": str(folder / "prepared_two"),
        "JAX_COORDINATOR_ADDRESS": address,
    }  # fmt: skip
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESSES, str(process), address, str(folder)], cwd=small.ROOT, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for process in range(2)
    ]  # fmt: skip
    try:
        outputs = [process.communicate(timeout=120) for process in running]
    finally:
        for process in running:
            process.kill()
    # The last command asks for other samples than those that are kept: both processes say no.
    assert [process.returncode for process in running] == [1, 1], outputs
    assert "which holds other samples: they differ in seed." in outputs[0][1]
    assert "the first process has refused what was asked for" in outputs[1][1]
    assert "step" not in outputs[1][0], "only one process is to report"
    assert "{" not in outputs[1][0]
    alone = typed(evaluate.main, *words(folder / "one", folder / "network", folder / "kept_alone"))
    expected = json.loads(alone.out.splitlines()[-1])["figures"]
    lines = [json.loads(line)["figures"] for line in outputs[0][0].splitlines() if line.startswith("{")]
    assert [pytest.approx(expected, rel=1e-5)] * 2 == lines
    logs = [small.log(folder / name) for name in ("one", "two")]
    for one, two in zip(*logs, strict=True):
        assert two == pytest.approx(one, rel=1e-5)
    assert {name: logs[1][-1][name] for name in expected} == pytest.approx(expected, rel=1e-5)
