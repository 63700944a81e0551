"""Diffusion models and classifiers in the one train step: sharded as unsharded, interrupted as uninterrupted."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

import glowdiff
from glowdiff.catalog.methods import build_method
from glowdiff.errors import ConfigError
from glowdiff.training.loop import train
from tests import small

# Trains on every mesh in one process of eight devices, then samples; prints what it found as JSON.
EIGHT = """
import dataclasses
import json
import jax, numpy as np
from glowdiff import sharding
sharding.MIN_SHARDED_SIZE = 1024  # so that a model as small as this one is really split
from benchmarks.hlo import find_collectives
from glowdiff.config.sections import MeshConfig
from glowdiff.data.batches import train_batches
from glowdiff.inference.drawer import Drawer
from glowdiff.training.experiment import build
from glowdiff.training.feed import Feed
from tests import small

MESHES = {"one": (1, 1), "fsdp": (2, 4)}
CONFIGS = {
    "diffusion": small.diffusion_config(
        dtype="float64", train__batch=16, model__network__dropout=0.1, model__timestep_sampler="loss_second_moment",
        model__process__timesteps=4, model__loss="rescaled_kl",
    ),
    "classifier": small.classifier_config(dtype="float64", train__batch=16),
}

def on(config, name):
    data, fsdp = MESHES[name]
    return build(config)._replace(mesh=sharding.make_mesh(MeshConfig(data, fsdp), jax.devices()[: data * fsdp]))

found, images = {"losses": {}, "loops": {}, "split": {}}, {}
for method, config in CONFIGS.items():
    for name in MESHES:
        run = on(config, name)
        batches = train_batches(run.dataset, run.config.data, batch=16, seed=0)
        feed, step, state, losses = Feed(batches, run.mesh), run.train_step(), run.initial_state(), []
        for _ in range(4):
            state, metrics = step(state, feed.next())
            losses.append(float(metrics["loss"]))
        batches.close()
        found["losses"][f"{method} {name}"] = losses
        split = [leaf for leaf in jax.tree.leaves(state) if not leaf.sharding.is_fully_replicated]
        found["split"][f"{method} {name}"] = len(split)
        if method == "diffusion":
            weights = jax.device_get(state.variables) if name == "one" else weights
            sampler = Drawer(run.method, run.mesh)
            options = dataclasses.replace(run.config.sampling, guidance_scale=2.0, sampler="ancestral")
            put = jax.tree.map(lambda a, like: jax.device_put(a, like.sharding), weights, dict(state.variables))
            images[name] = sampler(put, jax.random.key(0), 8, options=options).images.astype(int)
            text = sampler.lower(put, 8, options=options).compile().as_text()
            found["loops"][name] = [(c.kind, c.loops) for c in find_collectives(text)]
found["worst"] = int(np.abs(images["one"] - images["fsdp"]).max())
found["different"] = len(np.unique(images["one"].reshape(8, -1), axis=0))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def eight() -> dict:
    result = small.command("-c", EIGHT, JAX_ENABLE_X64="1", **small.with_devices(8))
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("method", ["diffusion", "classifier"])
def test_a_mesh_has_the_loss_of_one_device(eight, method):
    reference = eight["losses"][f"{method} one"]
    assert len(set(reference)) == 4
    np.testing.assert_allclose(eight["losses"][f"{method} fsdp"], reference, rtol=1e-9)
    assert eight["split"][f"{method} fsdp"] > 30


def test_eight_devices_draw_the_images_of_one(eight):
    assert eight["different"] == 8
    assert eight["worst"] <= 1


def test_the_sampler_s_loop_holds_no_collective(eight):
    assert eight["loops"]["one"] == []
    kinds = [kind for kind, _ in eight["loops"]["fsdp"]]
    assert "all-gather" in kinds, "parameters that are split must be gathered"
    assert all(loops == 0 for _, loops in eight["loops"]["fsdp"]), eight["loops"]["fsdp"]


def test_a_resumed_run_is_an_uninterrupted_one(tmp_path):
    """With the history of losses that choose the timesteps, dropout, and labels withheld."""
    changes = {
        "model__network__dropout": 0.1, "model__timestep_sampler": "loss_second_moment", "data__shift": 1,
        "pictures__every": 0,
    }  # fmt: skip
    whole = small.diffusion_config(**changes)
    train(whole, tmp_path / "whole")
    train(small.diffusion_config(**changes, train__steps=2), tmp_path / "parts")
    train(whole, tmp_path / "parts")
    expected, found = (small.state_of(whole, tmp_path / name) for name in ("whole", "parts"))
    assert {path for path in expected if expected[path] != found[path]} == set()
    assert any("timesteps" in path for path in expected)
    assert small.log(tmp_path / "whole")[-1] == small.log(tmp_path / "parts")[-1]
    assert glowdiff.load(tmp_path / "parts").step == 4


REFUSED = {
    "model.loss is 'hybrid', which trains a learned variance, but model.process.variance is 'fixed_small'": {
        "model__process__variance": "fixed_small"
    },
    "model.process.zero_terminal_snr is on, but model.process.prediction is 'eps'": {
        "model__process__zero_terminal_snr": True
    },
    "model.label_dropout is 0.2, but model.class_conditional is off": {"model__class_conditional": False},
    "model.network.channels is 40": {"model__network__channels": 40},
    "model.network.attention is '8;4'; it must be whole numbers with commas between them": {
        "model__network__attention": "8;4"
    },
    "model.process.schedule is 'cosin'; it must be one of": {"model__process__schedule": "cosin"},
    "sampling.guidance_scale is 2.0, but this model has never been without labels": {
        "model__label_dropout": 0.0, "sampling__guidance_scale": 2.0
    },
    "model.weighting is 'min_snr', which weighs the simple loss": {"model__weighting": "min_snr"},
    "model.low_res is 3, but images of digits are 8x8 pixels": {"model__low_res": 3},
    "model.network.channel_mult has 5 levels": {"model__network__channel_mult": "1,1,1,1,1"},
    "model.network.attention has 5": {"model__network__attention": "5"},
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_trained_is_refused_before_anything_compiles(message, tmp_path):
    with pytest.raises(ConfigError) as error, small.compilations() as compiled:
        train(small.diffusion_config(**REFUSED[message]), tmp_path)
    assert message in str(error.value)
    assert compiled == []


def test_bfloat16_from_the_first_step_to_the_pixels(tmp_path):
    """Arithmetic in bfloat16; parameters, averages, losses and what samplers walk with in float32."""
    config = small.diffusion_config(dtype="bfloat16", train__steps=2, pictures__every=0, eval__every=0)
    metrics = train(config, tmp_path)
    assert 0 < metrics["test_loss"] < 10
    model = glowdiff.load(tmp_path)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(model.variables)} == {"float32"}
    images = model.sample(jax.random.key(0), 4, label=3, guidance_scale=2.0)
    assert (images.shape, images.dtype) == ((4, 8, 8, 1), np.uint8)
    assert len(np.unique(images.reshape(4, -1), axis=0)) == 4
    # The network did compute in bfloat16: with the same parameters in float32 the loss is another, by little.
    batch = {"image": images, "cond": {"label": np.full(4, 3, np.int32)}}
    methods = (model.method, build_method(small.diffusion_config(), model.spec))
    half, full = (float(method.loss(model.variables, jax.random.key(1), batch)[0]) for method in methods)
    assert half == pytest.approx(full, rel=0.02)
    assert half != full
