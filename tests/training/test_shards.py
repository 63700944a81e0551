"""Parameters that stay split until a layer reads them: the same numbers, and never the whole model on one device."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests import small

# One step of each model on one device, and on meshes that split it, in one process of eight devices.
STEPS = """
import json
import jax, numpy as np
from benchmarks.hlo import find_collectives
from glowdiff import sharding
from glowdiff.inference import drawer
from glowdiff.networks import shards
sharding.MIN_SHARDED_SIZE = shards.MIN_GATHERED = 16  # so that models as small as these are really split
from glowdiff.catalog.methods import build_method
from glowdiff.config.sections import MeshConfig
from glowdiff.method import batch_shapes
from glowdiff.training.optimizer import learning_rate, make_optimizer
from glowdiff.training.state import fresh_state
from glowdiff.training.step import jit_train_step, make_train_step
from tests import small

FLOW = {"dtype": "float64", "train__batch": 16, "model__lu": True, "model__init_images": 16}
NET = {"dtype": "float64", "train__batch": 8, "model__network__dropout": 0.1}
PLAYERS = {"dtype": "float64", "train__batch": 8, "model__network__middle_attention": True}
MODELS = {  # and the mesh that splits them, and micro-batches
    "glow": (small.glow_config(**FLOW, model__memory="plain"), small.DIGITS, (2, 4, 1)),
    "reversible": (small.glow_config(**FLOW, model__memory="reversible"), small.DIGITS, (2, 4, 1)),
    "unet": (small.diffusion_config(**NET), small.DIGITS, (2, 4, 1)),
    "autoencoder": (small.autoencoder_config(**PLAYERS), small.DIGITS, (2, 4, 1)),
    "transformers": (small.sd_config(**NET), small.COLOURS, (2, 4, 1)),
    "recomputed": (small.text_config(**NET, model__network__remat=True), small.COLOURS, (1, 4, 2)),
}

def batch_of(method, spec, size):
    rng = np.random.default_rng(0)
    def array(leaf):
        if leaf.dtype == bool:
            return np.ones(leaf.shape, bool)
        return rng.integers(0, 10, leaf.shape).astype(leaf.dtype)
    return jax.tree.map(array, batch_shapes(spec, size, method.takes))

def step(config, method, variables, batch, data, fsdp):
    mesh, optimizer = sharding.make_mesh(MeshConfig(data, fsdp), jax.devices()[: data * fsdp]), make_optimizer(config)
    state = fresh_state(optimizer, jax.random.key(2), variables)
    shardings = sharding.state_shardings(state, mesh)
    state = jax.jit(lambda s: jax.tree.map(jax.numpy.copy, s), out_shardings=shardings)(state)  # to be donated
    batch = jax.device_put(batch, sharding.batch_sharding(mesh))
    jitted = jit_train_step(make_train_step(method, optimizer, learning_rate(config), config, mesh), state, mesh)
    compiled = jitted.lower(state, batch).compile()
    for _ in range(2):  # the second one's loss depends on the first one's gradient
        state, metrics = compiled(state, batch)
    again = [c for c in find_collectives(compiled.as_text()) if "/rematted_computation/" in str(c.sources)]
    return {name: float(value) for name, value in metrics.items()}, sum(c.kind == "all-gather" for c in again)

found, again = {}, {}
for name, (config, spec, (data, fsdp, accumulate)) in MODELS.items():
    config = small.replaced(config, train__accumulate=accumulate)
    method = build_method(config, spec)
    batch = batch_of(method, spec, config.train.batch)
    variables, rng = dict(jax.jit(method.init)(jax.random.key(0), batch)), np.random.default_rng(1)
    variables["params"] = jax.tree.map(lambda p: np.array(p + 0.1 * rng.normal(size=p.shape)), variables["params"])
    whole, split = (step(config, method, variables, batch, *mesh) for mesh in ((1, 1), (data, fsdp)))
    found[name], again[name] = [whole[0], split[0]], split[1]

# A model that no device could hold whole draws the same.
config = small.diffusion_config(dtype="float64")
method = build_method(config, small.DIGITS)
variables = small.untrained(config, small.DIGITS).variables
images = []
for fsdp, fits in ((1, True), (8, False)):
    drawer.fits_whole = lambda *_: fits
    mesh = sharding.make_mesh(MeshConfig(1, fsdp), jax.devices()[:fsdp])
    here = jax.device_put(variables, sharding.state_shardings(variables, mesh))
    drawn = drawer.Drawer(method, mesh)(here, jax.random.key(0), 8, options=config.sampling)
    images.append(drawn.images.astype(int).tolist())
print(json.dumps({"steps": found, "again": again, "images": images}))
"""


@pytest.fixture(scope="module")
def eight() -> dict[str, Any]:
    """In float64, where what is left of a difference is a mistake."""
    result = small.command("-c", STEPS, JAX_ENABLE_X64="1", **small.with_devices(8))
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_split_models_have_the_loss_and_the_gradient_of_whole_ones(eight):
    """With dropout, recomputed or not, scanned, inverted, and in micro-batches."""
    for name, (whole, split) in eight["steps"].items():
        assert whole["grad_norm"] > 0, name
        assert whole.keys() == split.keys()
        np.testing.assert_allclose(
            list(split.values()), list(whole.values()), rtol=1e-8, err_msg=name
        )  # softmax is float32


def test_parameters_are_gathered_again_in_the_backward_pass(eight):
    """Whether or not activations are recomputed: else each gathered copy would be kept until then."""
    assert eight["again"]["unet"] > 10
    assert eight["again"]["recomputed"] > 10
    assert eight["again"]["glow"] > 0


def test_split_models_draw_what_whole_ones_draw(eight):
    whole, split = (np.array(images) for images in eight["images"])
    assert len(np.unique(whole.reshape(8, -1), axis=0)) == 8
    assert np.abs(whole - split).max() <= 1  # rounding may tip a pixel over the edge of its bin
    assert (whole != split).mean() < 0.01
