"""The train step: what it computes, and what the compiled program holds."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glowdiff.config.options import SampleOptions
from glowdiff.data.batches import train_batches
from glowdiff.sharding import put_batch
from glowdiff.training.experiment import Experiment, build
from tests import small

VARIANTS = {
    "plain affine": {"model__lu": False, "model__coupling": "affine"},
    "LU affine": {"model__lu": True, "model__coupling": "affine"},
    "plain additive": {"model__lu": False, "model__coupling": "additive"},
    "LU additive": {"model__lu": True, "model__coupling": "additive"},
}


def batches_of(experiment: Experiment, count: int, *, noise: bool = False) -> list:
    """Global batches on the devices; with noise given, the loss is a function of the parameters alone."""
    config = experiment.config
    iterator = train_batches(experiment.dataset, config.data, batch=config.train.batch, seed=0)
    found = [dict(next(iterator)) for _ in range(count)]
    iterator.close()
    if noise:
        for index, batch in enumerate(found):
            rng = np.random.default_rng(index)
            batch["noise"] = (rng.random(batch["image"].shape) / 17).astype(np.float32)
    return [put_batch(batch, experiment.mesh) for batch in found]


@pytest.fixture(scope="module")
def glow() -> Experiment:
    return build(small.glow_config(model__lu=True, train__ema_decay=0.5, optimizer__name="adam"))


def test_two_micro_batches_are_one_batch(glow):
    batches = batches_of(glow, 3, noise=True)
    ends, metrics = [], []
    for accumulate in (1, 2):
        config = small.glow_config(model__lu=True, train__accumulate=accumulate, optimizer__name="adam")
        experiment = glow._replace(config=config)
        state, step = experiment.initial_state(), experiment.train_step()
        for batch in batches:
            state, values = step(state, batch)
        ends.append(state)
        metrics.append(values)
    for name in ("loss", "bits_per_dim", "grad_norm"):
        np.testing.assert_allclose(metrics[0][name], metrics[1][name], rtol=1e-4, err_msg=name)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), ends[0].variables, ends[1].variables)


def test_the_average_of_the_weights_is_the_normalised_one(glow):
    """sum(decay^(n-i) params_i) / sum(decay^(n-i)), i = 1 ... n: the initial weights are not part of it."""
    state, step = glow.initial_state(), glow.train_step()
    history = []
    for batch in batches_of(glow, 4):
        state, _ = step(state, batch)
        history.append(jax.device_get(state.variables["params"]))
    weights = 0.5 ** np.arange(3, -1, -1.0)
    expected = jax.tree.map(lambda *p: sum(w * x for w, x in zip(weights, p, strict=True)) / weights.sum(), *history)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), state.ema, expected)
    assert any(
        np.abs(a - b).max() > 1e-4
        for a, b in zip(jax.tree.leaves(state.ema), jax.tree.leaves(history[-1]), strict=True)
    )


def test_each_step_counts_draws_new_noise_and_donates_its_state(glow):
    (batch,) = batches_of(glow, 1)
    first = glow.initial_state()
    key = np.asarray(jax.random.key_data(first.key))
    step = glow.train_step()
    with small.compilations() as compiled:
        second, metrics = step(first, batch)
    assert len(compiled) == 1
    with small.compilations() as compiled:
        third, again = step(second, batch)
        _, _ = step(third, batch)
    assert compiled == []
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((first.variables, first.ema, first.opt_state)))
    assert set(metrics) == {
        "bits_per_dim", "loss", "grad_norm", "learning_rate", "clipped", "skipped", "skipped_in_row"
    }  # fmt: skip
    assert all(value.shape == () for value in metrics.values())
    assert float(metrics["loss"]) == float(metrics["bits_per_dim"])
    assert float(metrics["loss"]) != float(again["loss"])
    state = glow.initial_state()  # the same key gives the same step
    np.testing.assert_array_equal(jax.random.key_data(state.key), key)
    state, once_more = step(state, batch)
    np.testing.assert_array_equal(jax.random.key_data(state.key), key)
    assert int(state.step) == 1
    assert {name: float(value) for name, value in metrics.items()} == {n: float(v) for n, v in once_more.items()}


def test_a_gradient_that_is_not_finite_changes_nothing_of_a_glow(glow):
    good, bad = batches_of(glow, 2, noise=True)
    bad["noise"] = bad["noise"].at[3, 2, 1, 0].set(jnp.nan)
    state, step = glow.initial_state(), glow.train_step()
    state, _ = step(state, good)
    before = small.as_bytes(state._asdict())
    state, metrics = step(state, bad)
    assert not np.isfinite(metrics["loss"])
    after = small.as_bytes(state._asdict())
    assert {path for path in before if before[path] != after[path]} == {"step", "skipped", "skipped_in_row"}
    state, metrics = step(state, good)
    assert (int(metrics["skipped"]), int(metrics["skipped_in_row"])) == (1, 0)
    assert np.isfinite(metrics["loss"])


# ---- The compiled program.


def computations_in_loops(text: str) -> str:
    """The text of all computations of an HLO module that run inside a loop."""
    bodies, current = {}, None
    for line in text.splitlines():
        if found := re.match(r"^(?:ENTRY )?%?([\w.\-]+) .*\{$", line):
            current = found[1]
            bodies[current] = []
        elif current:
            bodies[current].append(line)
    inside: set[str] = set()
    todo = re.findall(r"(?:body|condition)=%?([\w.\-]+)", text)
    while todo:
        name = todo.pop()
        if name in inside:
            continue
        inside.add(name)
        called = "\n".join(bodies[name])
        todo += re.findall(r"(?:body|condition|calls|to_apply|true_computation|false_computation)=%?([\w.\-]+)", called)
        for several in re.findall(r"(?:called_computations|branch_computations)=\{([^}]*)\}", called):
            todo += re.findall(r"[\w.\-]+", several)
    return "\n".join("\n".join(bodies[name]) for name in inside)


LINEAR_ALGEBRA = re.compile(r"getrf|trsm|triangular-solve|TriangularSolve|LuDecomposition|\blu\b", re.IGNORECASE)


def compiled_text(experiment: Experiment, what: str) -> str:
    state = experiment.abstract_state()
    batch = experiment.example_batch(8)
    if what == "train step":
        return experiment.train_step().lower(state, batch).compile().as_text()
    latents = jax.eval_shape(lambda key: experiment.method.draws.latents(key, 8), jax.random.key(0))
    arguments = (state.variables, jax.random.key(0), latents, {}, SampleOptions(jnp.float32(1)))
    return jax.jit(experiment.method.draws.sample).lower(*arguments).compile().as_text()


def test_linear_algebra_in_a_loop_would_be_found():
    def looped(matrices):
        return jax.lax.scan(lambda x, matrix: (jnp.linalg.inv(matrix) @ x, None), jnp.ones((4, 1)), matrices)[0]

    text = jax.jit(looped).lower(jnp.ones((5, 4, 4))).compile().as_text()
    assert LINEAR_ALGEBRA.search(computations_in_loops(text))


@pytest.mark.parametrize("what", ["train step", "sampler"])
@pytest.mark.parametrize("lu", [False, True])
def test_no_linear_algebra_sits_in_a_loop(what, lu):
    # Deep enough that the scan stays a loop of four turns.
    text = compiled_text(build(small.glow_config(model__lu=lu, model__depth=4, model__unroll=1)), what)
    inside = computations_in_loops(text)
    assert "convolution" in inside or "conv" in inside.lower(), "the flow steps are in a loop"
    if what == "sampler" or not lu:
        assert LINEAR_ALGEBRA.search(text), "there is some, outside"
    found = LINEAR_ALGEBRA.search(inside)
    assert not found, found and inside[max(0, found.start() - 300) : found.end() + 300]


@pytest.mark.parametrize(("platform", "variant"), list(zip(["tpu", "cuda", "cuda", "tpu"], VARIANTS, strict=True)))
def test_step_and_sampler_lower_for_accelerators(platform, variant):
    experiment = build(small.glow_config(**VARIANTS[variant], model__unroll=1, model__levels=2))
    state, batch = experiment.abstract_state(), experiment.example_batch(8)
    lowered = experiment.train_step().trace(state, batch).lower(lowering_platforms=(platform,))
    assert "stablehlo.while" in lowered.as_text()
    latents = jax.eval_shape(lambda key: experiment.method.draws.latents(key, 8), jax.random.key(0))
    sampler = jax.jit(experiment.method.draws.sample)
    traced = sampler.trace(state.variables, jax.random.key(0), latents, {}, SampleOptions(jnp.float32(1)))
    assert "stablehlo.while" in traced.lower(lowering_platforms=(platform,)).as_text()
