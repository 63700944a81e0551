"""Attention by a platform's kernel is attention; tests/importers shows that it is ADM's and GLIDE's."""

import functools
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel

from benchmarks import programs
from benchmarks.programs import make_experiment, model_flops, sample_program, train_program
from benchmarks.synthetic import nothing_in
from glowdiff.config.sections import MeshConfig
from glowdiff.networks.attention import attend
from glowdiff.sharding import Platform, make_mesh, platform_of
from glowdiff.spec import DataSpec
from tests import small

MESH = make_mesh(MeshConfig())
TPU = Platform("tpu", 5, MESH)


def heads(seed, tokens, batch=2, channels=16):
    return np.random.default_rng(seed).standard_normal((batch, tokens, 2, channels), np.float32)


# Heads of 40 channels are Stable Diffusion's.
@pytest.mark.parametrize(("context", "channels"), [(0, 16), (128, 40)])
def test_on_a_tpu_it_is_the_same_with_its_gradients(context, channels, monkeypatch):
    interpreted = functools.partial(splash_attention_kernel.make_splash_mha_single_device, interpret=True)
    monkeypatch.setattr(splash_attention_kernel, "make_splash_mha_single_device", interpreted)
    tokens = (128, 128 + context, 128 + context)
    arrays = [heads(seed, count, channels=channels) for seed, count in enumerate(tokens)]
    weights = heads(3, 128, channels=channels)

    @functools.partial(jax.jit, static_argnums=0)
    def computed(platform, arrays):
        def loss(arrays):
            out = attend(*(array.astype(jnp.bfloat16 if platform else jnp.float32) for array in arrays), platform)
            return jnp.sum(out.astype(jnp.float32) * weights), out.astype(jnp.float32)

        return jax.grad(loss, has_aux=True)(arrays)

    (gradients, out), (expected_gradients, expected) = computed(TPU, arrays), computed(None, arrays)
    np.testing.assert_allclose(out, expected, atol=0.02)
    for one, other in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(one, other, atol=0.03)


def kernels(tokens=128, batch=2, dtype=jnp.bfloat16, platform=TPU):
    query = jax.ShapeDtypeStruct((batch, tokens, 2, 16), dtype)
    return str(jax.make_jaxpr(functools.partial(attend, platform=platform))(query, query, query)).count("pallas_call")


def test_what_a_kernel_cannot_compute_is_computed_without_it():
    assert kernels() == 1
    for refused in ({"tokens": 64}, {"dtype": jnp.float32}, {"platform": TPU.plain}, {"platform": Platform("cpu")}):
        assert kernels(**refused) == 0, refused


@pytest.mark.parametrize(("kind", "kernel"), [("TPU v3", None), ("TPU v5 lite", "splash"), ("TPU7x", "splash")])
def test_which_tpus_have_it(kind, kernel):
    device = SimpleNamespace(platform="tpu", device_kind=kind)
    assert platform_of(SimpleNamespace(devices=np.array([device]))).attention == kernel


@pytest.fixture(scope="module")
def experiment():
    """A UNet whose middle attends, at 16x16."""
    config = small.diffusion_config(dtype="bfloat16", train__accumulate=2, model__network__heads=2)
    return make_experiment(config, nothing_in(DataSpec("toy", (16, 16, 3), 256, 8, 8, classes=("a", "b"))), MESH, TPU)


@pytest.mark.parametrize("what", ["train step", "sampler"])
def test_programs_for_tpus_have_the_kernels(experiment, what):
    program = train_program(experiment) if what == "train step" else sample_program(experiment, 2)
    traced = program.function.trace(*program.args, **program.static)
    text = traced.lower(lowering_platforms=("tpu",)).as_text()
    names = ["dkv_no_residuals", "fwd_residuals"] if what == "train step" else ["fwd_no_residuals"]
    assert sorted(re.findall(r'kernel_name = "splash_mha_(\w+)"', text)) == names


def test_all_that_is_computed_twice_are_the_weights(experiment, monkeypatch):
    monkeypatch.setattr(programs, "platform_of", lambda mesh: TPU._replace(mesh=mesh))
    step = train_program(experiment)
    products, sums = 8 * 256**2 * 32, 8 * 256 * 32  # sums: of outputs times their gradients
    assert step.flops() - model_flops(step, experiment) == 2 * (products + sums)
