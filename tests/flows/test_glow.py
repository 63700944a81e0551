"""Glow as a model: what its settings change, and what they must not.

Whatever runs is jitted as a whole: eagerly, every operation of every shape is a program to compile.
"""

import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glowdiff.catalog.methods import METHODS
from glowdiff.catalog.parse import defaults, parse
from glowdiff.config.options import SampleOptions
from glowdiff.errors import ConfigError
from glowdiff.flows.build import glow_module
from glowdiff.flows.method import flow_method
from glowdiff.method import classes
from glowdiff.sharding import Platform
from glowdiff.spec import DataSpec

CPU = Platform("cpu")


@cache
def make(spec=None, dtype="float32", **model):
    spec = spec or DataSpec("toy", (8, 8, 1), 17, 100, 10, tuple("0123456789"))
    config = defaults("glow")
    config.model.update({"levels": 2, "depth": 2, "width": 6, "unroll": 1} | model)
    parsed = parse(config)
    parsed.model.check_data(spec, parsed.data)
    return METHODS["glow"].build(parsed.model, spec, dtype, platform=CPU), spec


def batch_of(spec, n=8):
    image = np.random.default_rng(5).integers(0, spec.levels, (n, *spec.shape)).astype(np.uint8)
    return {"image": image, "cond": {"label": np.arange(n) % max(len(spec.classes), 1)}}


def trained(method, batch, scale=0.03):
    """Variables with every zero-initialised weight moved away from zero."""
    variables, rng = jax.jit(method.init)(jax.random.key(0), batch), np.random.default_rng(3)

    def move(p):
        return p + scale * rng.normal(size=p.shape).astype(p.dtype)

    return {**variables, "params": jax.tree.map(move, jax.tree.map(np.asarray, variables["params"]))}


def round_trip(method, variables, batch):
    @jax.jit
    def there_and_back(variables, batch):
        latents = method.draws.encode(variables, jax.random.key(0), batch, SampleOptions())
        return method.draws.sample(variables, jax.random.key(0), latents, batch["cond"], SampleOptions()).images

    return there_and_back(variables, batch)


def bits_of(method, variables, batch):
    return jax.jit(method.bits_per_dim)(variables, jax.random.key(0), batch)


@pytest.mark.parametrize("levels", [17, 256, 2])
def test_decoding_gives_back_the_integers(levels):
    spec = DataSpec("toy", (4, 8, 3), levels, 100, 10)
    method, _ = make(spec)
    batch = batch_of(spec)
    np.testing.assert_array_equal(round_trip(method, trained(method, batch), batch), batch["image"])


def test_n_bits_coarsens_and_samples_are_multiples():
    spec = DataSpec("toy", (4, 4, 3), 256, 100, 10)
    method, _ = make(spec, n_bits=5, levels=1)
    batch = batch_of(spec)
    back = round_trip(method, trained(method, batch), batch)
    np.testing.assert_array_equal(back, batch["image"] // 8 * 8)
    assert len(np.unique(np.asarray(back))) > 4


def test_bits_of_an_untrained_model_count_every_channel():
    """With an identity flow the likelihood is that of a standard normal on the dequantised pixels."""
    spec = DataSpec("toy", (2, 2, 3), 256, 100, 10)
    config = defaults("glow")
    config.model.update(levels=1, depth=1, width=4, permutation="reverse", learn_top=False)
    module = glow_module(parse(config).model, spec, "float32", platform=CPU)
    method = flow_method(module, spec.shape)
    batch = batch_of(spec)
    noise = np.full(batch["image"].shape, 0.5 / 256, np.float32)
    variables = trained(method, batch)
    zeros = jax.tree.map(np.zeros_like, variables["params"])
    # An affine coupling of zeros scales its half by sigmoid(2).
    module_bits = bits_of(method, {**variables, "params": zeros}, batch | {"noise": noise})
    x = np.asarray(batch["image"], np.float64) / 256 - 0.5 + 0.5 / 256
    sigma = 1 / (1 + math.exp(-2))
    z = x.reshape(8, 1, 2, 1, 2, 3).transpose(0, 1, 3, 5, 2, 4).reshape(8, 12)[:, ::-1].copy()
    z[:, 6:] *= sigma
    logp = -0.5 * (z**2 + math.log(2 * math.pi)).sum(-1) + 6 * math.log(sigma)
    np.testing.assert_allclose(module_bits, (math.log(256) - logp / 12) / math.log(2), atol=1e-5)


def test_unroll_and_remat_change_nothing_but_speed():
    plain, spec = make(levels=1, depth=3)
    batch = batch_of(spec)
    variables = trained(plain, batch)

    def gradient(method):
        return jax.jit(jax.grad(lambda p: method.loss({**variables, "params": p}, jax.random.key(1), batch)[0]))

    expected = gradient(plain)(variables["params"])
    for changes in (
        {"unroll": 3},
        {"memory": "remat"},
        {"memory": "reversible"},
        {"memory": "reversible", "unroll": 2},
    ):
        found = gradient(make(levels=1, depth=3, **changes)[0])(variables["params"])
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-3), found, expected)


def test_unroll_is_that_of_the_platform_compiled_for():
    """Not of the machine that compiles: these tests run on CPUs."""
    model, spec = parse(defaults("glow")).model, DataSpec("toy", (8, 8, 3), 256, 100, 10)
    platforms = [Platform(name) for name in ("cpu", "gpu", "tpu")]
    unrolls = {platform.name: glow_module(model, spec, "float32", platform=platform).unroll for platform in platforms}
    assert unrolls == {"cpu": 1_000, "gpu": 8, "tpu": 1}


def test_bfloat16_nets_keep_the_likelihood_in_float32():
    exact, spec = make()
    fast, _ = make(dtype="bfloat16")
    batch = batch_of(spec)
    variables = trained(exact, batch)
    bits = bits_of(fast, variables, batch)
    assert bits.dtype == jnp.float32
    np.testing.assert_allclose(bits, bits_of(exact, variables, batch), atol=0.05)
    np.testing.assert_array_equal(round_trip(fast, variables, batch), batch["image"])


def test_gradient_of_the_loss_is_that_of_finite_differences():
    with jax.enable_x64(True):
        method, spec = make(dtype="float64", levels=1, lu=True)
        batch = batch_of(spec)
        variables = trained(method, batch)
        loss = jax.jit(lambda p: method.loss({**variables, "params": p}, jax.random.key(1), batch)[0])
        rng = np.random.default_rng(7)
        direction = jax.tree.map(lambda p: rng.normal(size=p.shape), variables["params"])
        gradient = jax.jit(jax.grad(loss))(variables["params"])
        products = jax.tree.map(lambda g, d: (np.asarray(g) * d).sum(), gradient, direction)
        slope = sum(jax.tree.leaves(products))

        def moved(h):
            return loss(jax.tree.map(lambda p, d: p + h * d, variables["params"], direction))

        np.testing.assert_allclose(slope, (moved(1e-6) - moved(-1e-6)) / 2e-6, rtol=1e-5)


class TestClassConditional:
    def test_label_shifts_the_prior_and_the_loss_adds_the_classifier(self):
        method, spec = make(class_conditional=True, class_weight=0.01)
        assert classes(method.takes) == 10
        batch = batch_of(spec)
        variables = jax.jit(method.init)(jax.random.key(0), batch)
        loss, aux = jax.jit(method.loss)(variables, jax.random.key(1), batch)
        # Untrained, the classifier says 1/10 to every class.
        np.testing.assert_allclose(loss, aux.metrics["bits_per_dim"] + 0.01 * math.log2(10), rtol=1e-5)
        variables = trained(method, batch)
        draw = jax.jit(
            lambda variables, label: (
                method.draws.sample(
                    variables,
                    jax.random.key(0),
                    method.draws.latents(jax.random.key(2), 8),
                    {"label": label},
                    SampleOptions(),
                ).images
            )
        )
        pictures = [draw(variables, np.full(8, y)) for y in (0, 1)]
        assert (np.asarray(pictures[0]) != np.asarray(pictures[1])).any()
        other = batch | {"cond": {"label": (batch["cond"]["label"] + 1) % 10}}
        bits = [bits_of(method, variables, b) for b in (batch, other)]
        assert not np.allclose(*bits, atol=1e-3)

    def test_a_missing_label_is_said(self):
        method, spec = make(class_conditional=True)
        variables = jax.eval_shape(method.init, jax.random.key(0), batch_of(spec))

        def draw(variables):
            latents = method.draws.latents(jax.random.key(0), 2)
            return method.draws.sample(variables, jax.random.key(0), latents, {}, SampleOptions())

        with pytest.raises(ValueError, match="class-conditional: give cond"):
            jax.eval_shape(draw, variables)


def test_example_noise_depends_on_the_index_alone():
    method, spec = make()
    batch = batch_of(spec)
    variables = trained(method, batch)
    whole = bits_of(method, variables, batch)
    part = {"image": batch["image"][3:5], "cond": {}, "index": np.array([3, 4])}
    np.testing.assert_allclose(bits_of(method, variables, part), whole[3:5], atol=1e-5)


def test_latents_are_standard_normal_and_one_per_example():
    method, _ = make()
    latents_of = jax.jit(method.draws.latents, static_argnums=1)
    latents = latents_of(jax.random.key(0), 500)
    flat = np.concatenate([np.asarray(eps).reshape(500, -1) for eps in latents], axis=1)
    assert abs(flat.mean()) < 0.02
    assert abs(flat.std() - 1) < 0.02
    first = latents_of(jax.random.key(0), 3)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, np.asarray(b)[:3]), first, latents)


def test_condition_number_is_reported():
    for lu in (False, True):
        method, spec = make(lu=lu)
        found = jax.jit(lambda batch, method=method: method.diagnostics(method.init(jax.random.key(0), batch)))(
            batch_of(spec)
        )
        np.testing.assert_allclose(found["condition_number"], 1, atol=1e-4)  # rotations, at first


@pytest.mark.parametrize(
    ("spec", "model", "message"),
    [
        (((28, 32, 1), 256), {"levels": 3}, "height 28.*cannot halve 3 times.*24 or 32.*model.levels=2 works"),
        (((7, 8, 1), 256), {"levels": 1}, "height 7.*nearest sizes that work are 6 or 8"),
        (((8, 8, 1), 17), {"n_bits": 5}, "n_bits is 5, but digits has 17 levels"),
        (((8, 8, 1), 256), {"class_conditional": True}, "class_conditional is on, but digits has no labels"),
        (((8, 8, 1), 256), {"permutation": "shuffle", "lu": True}, "only conv has an LU form"),
        (((8, 8, 1), 256), {"coupling": "afine"}, "coupling is 'afine'; it must be one of additive, affine"),
    ],
)
def test_impossible_settings_are_said_before_anything_compiles(spec, model, message):
    with pytest.raises(ConfigError, match=message):
        make(DataSpec("toy", *spec, 100, 10), **model)
