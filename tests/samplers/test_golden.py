"""One step of each published sampler against what the original (ADM, PyTorch) computes."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glowdiff.samplers import SAMPLERS
from glowdiff.samplers.ddim import inversion, step_up
from glowdiff.samplers.guidance import clip_x_0, with_gradient
from glowdiff.samplers.levels import Level, Step, as_dtype, make_grid, make_level, rows
from glowdiff.samplers.prediction import Denoiser, Prediction, from_eps, from_x_0
from glowdiff.samplers.sampler import Sampler, Turn
from tests.importers.golden import FOLDER

PROCESSES = ["linear_1000", "cosine_250", "linear_ddim25"]
VARIANCES = ["learned_range", "fixed_small", "fixed_large"]


class Golden(NamedTuple):
    """One of the files, read for one of its processes; four examples at four levels."""

    arrays: dict[str, Any]
    predicts: str
    variance: str
    grid: Step

    def __getitem__(self, name: str) -> jax.Array:
        return jnp.asarray(self.arrays[name])

    def expected(self, name: str) -> np.ndarray:
        return self.arrays[f"out_{self.predicts}_{self.variance}_{name}"]

    def denoise(self, x: jax.Array, level: Level) -> Prediction:
        """What the network is pretended to return."""
        output, values = jnp.split(self["in_model_output"], 2, axis=1)
        fraction = (values + 1) / 2 if self.variance == "learned_range" else None
        return (from_eps if self.predicts == "eps" else from_x_0)(x, level, output, fraction)

    def gradient(self, x: jax.Array, level: Level) -> jax.Array:
        return self["in_cond_grad"]

    def step(self, sampler: Sampler, denoise: Denoiser, eta: float = 0.0) -> jax.Array:
        turns = sampler.plan(self.grid, jnp.float32)
        turn: Turn = rows(turns, len(self.grid.beta) - 1 - self["in_t"])
        x = self["in_x_t"]
        return sampler.step(x, denoise(x, turn.level), turn, lambda: self["in_step_noise"], jnp.float32(eta))


@pytest.fixture(params=[(p, o, v) for p in PROCESSES for o in ("eps", "x0") for v in VARIANCES], ids="-".join)
def golden(request: pytest.FixtureRequest) -> Golden:
    process, predicts, variance = request.param
    with np.load(FOLDER / f"diffusion_{process}.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files if name != "spec"}
    alpha_bar = np.cumprod(1 - arrays["out_betas"])[arrays["out_timesteps"]]
    kind = "fixed_small" if variance == "fixed_small" else "fixed_large"
    return Golden(arrays, predicts, variance, make_grid(arrays["out_timesteps"], alpha_bar, kind))


def close(found: jax.Array, expected: np.ndarray, relative: float = 0.0) -> None:
    np.testing.assert_allclose(np.asarray(found), expected, rtol=relative, atol=1e-5)


def test_ancestral(golden):
    clipped, sampler = clip_x_0(golden.denoise), SAMPLERS["ancestral"]
    close(golden.step(sampler, clipped), golden.expected("p_sample"))
    close(golden.step(sampler, golden.denoise), golden.expected("p_sample_noclip"), relative=1e-5)
    close(golden.step(sampler, with_gradient(clipped, golden.gradient)), golden.expected("p_sample_cond"))


def test_ddim(golden):
    clipped, sampler = clip_x_0(golden.denoise), SAMPLERS["ddim"]
    close(golden.step(sampler, clipped), golden.expected("ddim_eta0.0"))
    close(golden.step(sampler, clipped, eta=0.7), golden.expected("ddim_eta0.7"))
    # Where next to nothing of the data is left, guidance makes x_0 of some 1e4: the original itself is 5e-5 away there
    # from what its equations give in float64.
    guided, expected = golden.step(sampler, with_gradient(clipped, golden.gradient)), golden.expected("ddim_cond")
    largest = np.maximum(1, np.abs(expected).max((1, 2, 3), keepdims=True))
    close(guided / largest, expected / largest)


def test_ddim_upwards(golden):
    """The original's next level past the last one is pure noise."""
    now = golden.grid.now
    above = make_level(np.append(now.t[1:], len(now.t)), np.append(now.alpha_bar[1:], 0.0))
    turns = Turn(as_dtype(now, jnp.float32), as_dtype(inversion(now, above, jnp.float32), jnp.float32))
    turn = rows(turns, golden["in_t"])
    prediction = clip_x_0(golden.denoise)(golden["in_x_t"], turn.level)
    found = step_up(golden["in_x_t"], prediction, turn, lambda: golden["in_step_noise"], jnp.float32(0))
    close(found, golden.expected("ddim_reverse"))
