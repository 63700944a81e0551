"""One device, many devices and many processes compute the same."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import small

# Trains on every mesh in one process of eight devices; prints what it found as JSON.
EIGHT = """
import json, sys
import jax, numpy as np
from glowdiff import sharding
sharding.MIN_SHARDED_SIZE = 16  # so that a model as small as this one is really split
from glowdiff.config.sections import MeshConfig
from glowdiff.data.batches import eval_batches, train_batches
from glowdiff.metrics.bits_per_dim import make_evaluator
from glowdiff.inference.drawer import Drawer
from glowdiff.workdir.checkpoint import Checkpoints
from glowdiff.training.experiment import build
from glowdiff.training.feed import Feed
from glowdiff.training.state import TrainState
from tests import small

workdir, STEPS = sys.argv[1], 20
MESHES = {"one": (1, 1), "fsdp": (2, 4)}

def experiment(name, accumulate=1):
    data, fsdp = MESHES[name]
    config = small.glow_config(dtype="float64", train__batch=16, train__accumulate=accumulate, model__lu=True)
    devices = jax.devices()[: data * fsdp]
    return build(config)._replace(mesh=sharding.make_mesh(MeshConfig(data, fsdp), devices))

def go_on(run, state, position, steps):
    batches = train_batches(run.dataset, run.config.data, batch=16, seed=0)
    if position:
        batches.restore(position)
    feed, step, losses = Feed(batches, run.mesh), run.train_step(), []
    for _ in range(steps):
        state, metrics = step(state, feed.next())
        losses.append(float(metrics["loss"]))
    batches.close()
    return state, losses, feed.position

found, states = {"losses": {}, "bits": {}}, {}
for name, accumulate in (("one", 1), ("fsdp", 1), ("one", 2), ("fsdp", 2)):
    run = experiment(name, accumulate)
    state, losses, position = go_on(run, run.initial_state(), None, STEPS)
    found["losses"][f"{name} x{accumulate}"] = losses
    if accumulate == 1:
        states[name] = state

split = [leaf for leaf in jax.tree.leaves(states["fsdp"]) if not leaf.sharding.is_fully_replicated]
found["split"] = sorted({len({str(s.index) for s in leaf.addressable_shards}) for leaf in split})
found["share"] = sum(leaf.addressable_shards[0].data.size for leaf in split) / sum(leaf.size for leaf in split)

# A checkpoint of one mesh goes on on another.
with Checkpoints(workdir) as checkpoints:
    checkpoints.save(STEPS, states["fsdp"]._asdict(), position, {})
    checkpoints.wait()
    restored = {n: checkpoints.restore(STEPS, experiment(n).abstract_state()._asdict()) for n in MESHES}
contents = [small.as_bytes(r.state) for r in restored.values()] + [small.as_bytes(states["fsdp"]._asdict())]
found["identical"] = all(content == contents[0] for content in contents)

# Samples and the evaluation, of the same weights.
images = {}
for name in ("one", "fsdp"):
    run = experiment(name)
    variables = restored[name].state["variables"]
    sampler, evaluate = Drawer(run.method, run.mesh), make_evaluator(run.method, run.mesh)
    for batch in (8, None):
        drawn = sampler(variables, jax.random.key(0), 11, batch=batch).images
        images[f"{name} {batch}"] = drawn.astype(int).tolist()
        batches = eval_batches(run.dataset, batch=batch or 16, limit=20)
        found["bits"][f"{name} {batch}"] = evaluate(variables, batches)
found["images"] = images

# Steps donate the state, so this comes last.
found["longer"] = {}
for name in ("fsdp", "one"):
    _, found["longer"][name], _ = go_on(experiment(name), TrainState(**restored[name].state), restored[name].data, 3)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def eight(tmp_path_factory) -> dict:
    """In float64, where what is left of a difference is a mistake."""
    folder = str(tmp_path_factory.mktemp("eight"))
    result = small.command("-c", EIGHT, folder, JAX_ENABLE_X64="1", **small.with_devices(8))
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_a_mesh_has_the_loss_of_one_device(eight):
    losses = eight["losses"]
    for name, values in losses.items():
        reference = losses["one x" + name[-1]]
        assert len(values) == 20
        np.testing.assert_allclose(values, reference, rtol=1e-9, err_msg=name)
    # The figures mean something: the model learns, and its initialisation saw the data.
    assert np.mean(losses["one x1"][-5:]) < losses["one x1"][0] < 5


def test_fsdp_splits_the_state_in_four(eight):
    assert eight["split"] == [4]
    assert eight["share"] == 0.25


def test_a_checkpoint_of_one_mesh_goes_on_on_another(eight):
    assert eight["identical"]
    np.testing.assert_allclose(eight["longer"]["one"], eight["longer"]["fsdp"], rtol=1e-9)
    assert len(set(eight["longer"]["one"])) == 3


def test_samples_depend_neither_on_the_batch_nor_on_the_devices(eight):
    images = {name: np.array(values) for name, values in eight["images"].items()}
    reference = images["one None"]
    assert reference.shape == (11, 8, 8, 1)
    assert len(np.unique(reference.reshape(11, -1), axis=0)) == 11
    for name, values in images.items():
        assert np.abs(values - reference).max() <= 1, name  # rounding may tip a pixel over the edge of its bin
        assert (values != reference).mean() < 0.01, name


def test_the_evaluation_depends_neither_on_the_batch_nor_on_the_devices(eight):
    figures = list(eight["bits"].values())
    assert len(figures) == 4
    np.testing.assert_allclose(figures, figures[0], rtol=1e-9)


# The real command, with a model as small as the one above really split.
PROCESS = """
import runpy
from glowdiff import sharding
sharding.MIN_SHARDED_SIZE = 16
runpy.run_path("train.py", run_name="__main__")
"""
PAIRED = {
    "model__levels": 1,
    "model__lu": True,
    "train__batch": 16,
    "train__steps": 10,
    "train__checkpoint_every": 10,
    "eval__every": 5,
    "pictures__every": 10,
    "dtype": "float64",
}


# Two runs of it, one after the other.
ALONE = """
import sys
from glowdiff.cli.train import main

between = sys.argv.index("--")
sys.exit(main(sys.argv[1:between]) or main(sys.argv[between + 1 :]))
"""


def arguments(workdir: Path, changes: dict[str, Any]) -> list[str]:
    return ["--config=configs/glow/digits.py:smoke", f"--workdir={workdir}", *small.flags(changes)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Path:
    """A run of two processes with two devices each."""
    workdir = tmp_path_factory.mktemp("pair")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    shared = {
        "JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2", "JAX_ENABLE_X64": "1", **small.with_devices(2)
    }  # fmt: skip
    processes = [
        small.start(
            "-c", PROCESS, *arguments(workdir, PAIRED), "--config.mesh.fsdp=2", **shared, JAX_PROCESS_ID=str(index)
        )
        for index in range(2)
    ]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert "4 x cpu, 2 process(es)" in outputs[0][0]
    assert "data 2 x fsdp 2" in outputs[0][0]
    assert outputs[0][0].count("step 10/10") == 1
    assert "step" not in outputs[1][0], "only one process is to report"
    return workdir


def test_two_processes_have_the_losses_figures_and_pictures_of_one_device(pair, tmp_path):
    # Once with one process and one device; and what the two left goes on there.
    result = small.command(
        "-c",
        ALONE,
        *arguments(tmp_path, PAIRED),
        "--",
        *arguments(pair, PAIRED | {"train__steps": 12}),
        JAX_ENABLE_X64="1",
    )
    assert result.returncode == 0, result.stderr
    assert "Going on after step 10" in result.stdout
    alone, together = small.log(tmp_path), small.log(pair)
    assert [line["step"] for line in together] == list(range(1, 13))
    assert len(alone) == 10
    for one, two in zip(alone, together[:10], strict=True):
        assert one.keys() == two.keys()
        for name, value in one.items():
            np.testing.assert_allclose(two[name], value, rtol=1e-9, err_msg=f"{name} at step {one['step']}")
    # One process has written the picture, of noise and weights that are those of one device.
    drawn = [np.asarray(Image.open(workdir / "samples/10.png"), np.int32) for workdir in (tmp_path, pair)]
    assert len(np.unique(drawn[0])) > 4
    assert (drawn[0] != drawn[1]).mean() < 0.01  # rounding may tip a pixel over the edge of its bin
    assert np.abs(drawn[0] - drawn[1]).max() <= 255 / 16 + 1  # levels, of 17
