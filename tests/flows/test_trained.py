"""Flows that have been trained: their inverses, and the moving statistics of batch normalisation."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import glowdiff
from glowdiff.catalog.parse import defaults, parse
from glowdiff.data import dataset as datasets
from glowdiff.errors import ConfigError
from glowdiff.training.loop import train
from tests import small

STEPS, BATCH = 60, 16  # what the steps cost is the batch: tests compile without optimisations
MODELS = {
    "glow": {"levels": 2, "depth": 4, "width": 16, "unroll": 1},
    "realnvp": {"levels": 1, "depth": 2, "width": 6, "blocks": 1, "unroll": 1, "memory": "reversible"},
    "nice": {"depth": 4, "hidden_layers": 1, "width": 32},
}


def configuration(method: str, steps: int = STEPS, **model):
    config = defaults(method)
    config.model.update(init_images=64, **(MODELS[method] | model))
    config.train.update(steps=steps, batch=BATCH, log_every=20, checkpoint_every=STEPS // 2)
    config.eval.update(every=0, images=64)
    config.pictures.update(every=0, images=4)
    config.optimizer.learning_rate = 2e-3
    return parse(config)


def trained(method):
    return small.once(f"trained {method}", lambda path: train(configuration(method), path))


@pytest.fixture(scope="module", params=MODELS)
def workdir(request):
    return trained(request.param)


@pytest.fixture(scope="module")
def digits():
    return datasets.load(configuration("nice").data)


def test_it_learns_and_inverts_within_half_a_level(workdir, digits):
    lines = small.log(workdir)
    assert lines[-1]["bits_per_dim"] < lines[0]["bits_per_dim"] - 0.1
    model = glowdiff.load(workdir)
    images = digits.test.images[:64]
    latents = model.encode(images)
    np.testing.assert_array_equal(model.decode(latents), images)
    assert np.abs(model.decode_unrounded(latents) - images).max() < 0.5


def both_bits(method, variables, images, levels):
    """Bits/dim by moving statistics, and by those of the batch; the noise is the same."""
    noise = np.random.default_rng(1).uniform(size=images.shape).astype(np.float32) / levels
    batch = {"image": images, "cond": {}, "noise": noise}
    moving = jax.jit(method.bits_per_dim)(variables, jax.random.key(0), batch).mean()
    _, aux = jax.jit(method.loss)(variables, jax.random.key(0), batch)
    return float(moving), float(aux.metrics["bits_per_dim"])


@pytest.fixture(scope="module")
def run():
    return trained("realnvp")


class TestMovingStatistics:
    """Forgetting them is the classic fault of RealNVP: fine while training, thousands of bits in evaluation."""

    def test_they_score_as_the_batchs_own(self, run, digits):
        model = glowdiff.load(run)
        images = digits.train.images[:512]
        moving, own = both_bits(model.method, model.variables, images, 17)
        assert abs(moving - own) < 0.1
        fresh = {
            "batch_stats": jax.tree.map_with_path(
                lambda path, a: jnp.full_like(a, path[-1].key == "var"), model.variables["batch_stats"]
            )
        }
        forgotten, _ = both_bits(model.method, {**model.variables, **fresh}, images, 17)
        assert forgotten - own > 1

    def test_they_survive_a_resume(self, run, tmp_path):
        train(configuration("realnvp", STEPS // 2), tmp_path)
        config = configuration("realnvp")
        train(config, tmp_path)
        expected, found = small.state_of(config, run), small.state_of(config, tmp_path)
        assert any("batch_stats" in path for path in expected)
        assert {path for path in expected if expected[path] != found[path]} == set()

    def test_they_are_global_when_sharded(self):
        script = """
import json
import jax
from glowdiff import sharding
sharding.MIN_SHARDED_SIZE = 16  # so that a model as small as this one is really split
from glowdiff.config.sections import MeshConfig
from glowdiff.data.batches import train_batches
from glowdiff.training.experiment import build
from glowdiff.training.feed import Feed
from tests.flows.test_trained import BATCH, both_bits, configuration

found = {}
for name, shape in (("one", (1, 1)), ("four", (2, 2))):
    run = build(configuration("realnvp"))
    run = run._replace(mesh=sharding.make_mesh(MeshConfig(*shape), jax.devices()[: shape[0] * shape[1]]))
    state, step = run.initial_state(), run.train_step()
    feed = Feed(train_batches(run.dataset, run.config.data, batch=BATCH, seed=0), run.mesh)
    losses = []
    for _ in range(40):
        state, metrics = step(state, feed.next())
        losses.append(float(metrics["loss"]))
    split = sum(not leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state.variables))
    assert bool(split) == (name == "four"), split
    found[name] = (losses, *both_bits(run.method, state.variables, run.dataset.train.images[:512], 17))
print(json.dumps(found))
"""
        result = small.command("-c", script, **small.with_devices(4))
        assert result.returncode == 0, result.stderr
        found = json.loads(result.stdout)
        np.testing.assert_allclose(found["four"][0], found["one"][0], rtol=1e-3)
        _, moving, own = found["four"]
        assert abs(moving - own) < 0.1
        np.testing.assert_allclose(found["four"][1:], found["one"][1:], rtol=1e-2)

    def test_averaged_weights_are_refused(self):
        config = defaults("realnvp")
        config.train.ema_decay = 0.999
        with pytest.raises(ConfigError, match=r"ema_decay is 0.999.*moving statistics.*train.ema_decay=0"):
            parse(config)
        config.model.batch_norm = False
        parse(config)
        assert parse({"method": "realnvp"}).train.ema_decay == 0  # what is not said is what suits the model

    def test_without_averaging_both_sets_of_weights_are_one(self, run):
        averaged, raw = glowdiff.load(run), glowdiff.load(run, ema=False)
        jax.tree.map(np.testing.assert_array_equal, averaged.variables, raw.variables)


def test_the_penalty_is_of_magnitudes_and_scales(digits):
    from glowdiff.catalog.methods import build_method

    config = configuration("realnvp")
    method = build_method(config, digits.spec)
    batch = {"image": digits.train.images[:16], "cond": {}}
    variables = jax.jit(method.init)(jax.random.key(0), batch)
    loss, aux = jax.jit(method.loss)(variables, jax.random.key(1), batch)
    # Magnitudes start at one and scales at zero: what is added counts the kernels of learned length.
    leaves = jax.tree_util.tree_leaves_with_path(variables["params"])
    lengths = sum(leaf.size for path, leaf in leaves if path[-1].key == "magnitude")
    np.testing.assert_allclose(loss - aux.metrics["bits_per_dim"], 5e-5 * lengths, rtol=1e-2)
