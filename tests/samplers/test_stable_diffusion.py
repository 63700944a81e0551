"""What users of Stable Diffusion call samplers, against diffusers, k-diffusion and the original code.

The file tells what a network is pretended to return, whatever it is asked, and what each sampler makes of it.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glowdiff.diffusion.process import DDPM
from glowdiff.diffusion.schedules import betas, to_zero_terminal_snr
from glowdiff.samplers import SAMPLERS
from glowdiff.samplers.levels import Level, Step, make_level, rows
from glowdiff.samplers.prediction import Prediction
from glowdiff.samplers.sampler import run
from tests.importers.golden import FOLDER

with np.load(FOLDER / "latent" / "sd_samplers.npz", allow_pickle=False) as _file:
    ARRAYS: dict[str, np.ndarray] = dict(_file)
_SPEC = json.loads(str(ARRAYS.pop("spec")))
CONFIG, INFO = _SPEC["config"], _SPEC["info"]
NAMES = sorted(name.removeprefix("out_").removesuffix("_x") for name in ARRAYS if name.endswith("_x"))
STEPS = str(CONFIG["steps"])


class Case(NamedTuple):
    """Whose sampler is whose."""

    sampler: str
    spacing: str
    predicts: str = "eps"
    final: str = "data"
    zero_terminal_snr: bool = False

    @property
    def process(self) -> DDPM:
        return process(zero_terminal_snr=self.zero_terminal_snr, prediction=self.predicts)

    @property
    def grid(self) -> Step:
        return self.process.process().grid(STEPS, self.spacing, final=self.final)


def process(**changes: Any) -> DDPM:
    return DDPM(
        "ddpm", CONFIG["beta_schedule"], CONFIG["num_train_timesteps"], CONFIG["beta_start"], CONFIG["beta_end"],
        **changes,
    )  # fmt: skip


def described(name: str) -> Case:
    """A case by its name and, of diffusers' schedulers, by their configuration."""
    sampler = max((each for each in (*SAMPLERS, "pndm") if each in name), key=len).replace("pndm", "plms")
    if name.startswith("orig_"):
        return Case(sampler, "leading", "v" if "_v" in name else "eps", "first")
    if name.startswith("k_"):
        return Case(sampler, "karras" if "karras" in name else "log_linspace", "v" if "_v" in name else "eps")
    config = INFO[name]
    spacing, solver = config["timestep_spacing"], "solver_order" in config
    if config.get("use_karras_sigmas"):
        spacing = "karras_quantised" if solver else {"leading": "karras_leading", "linspace": "karras"}[spacing]
    elif spacing == "leading" and solver:
        spacing = "leading_dpm"
    predicts = {"epsilon": "eps", "v_prediction": "v"}[config["prediction_type"]]
    final = "data" if config.get("set_alpha_to_one", True) else "first"
    return Case(sampler, spacing, predicts, final, config.get("rescale_betas_zero_snr", False))


def eta_of(name: str, case: Case) -> float:
    """How much of DDIM's noise there is, which the first of its steps tells."""
    if "eta" not in name:
        return 0.0
    turn = rows(SAMPLERS["ddim"].plan(case.grid, jnp.float32), 0)
    before, after = ARRAYS[f"out_{name}_x"][:2]
    found = case.process.process().predict(ARRAYS["in_model_output"][0], jnp.asarray(before), turn.level)
    rest = after - turn.coefficients.alpha * found.x_0
    parts = np.stack([np.ravel(found.eps), np.ravel(ARRAYS["in_step_noise"][0])], 1)
    noise = np.linalg.lstsq(parts, np.ravel(rest))[0][1]
    return round(float(noise / turn.coefficients.noise), 3)


def walked(name: str, case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x in front of each evaluation and at the end, t that the network is told, and sigma / alpha of each x."""
    predict, xs, levels = case.process.process().predict, [], []
    sampler = SAMPLERS[case.sampler]

    def denoise(x: jax.Array, level: Level) -> Prediction:
        xs.append(np.asarray(x))
        levels.append(level)
        return predict(jnp.asarray(ARRAYS["in_model_output"][len(xs) - 1]), x, level)

    def step(carry, prediction, turn, noise, eta):
        return sampler.step(carry, prediction, turn, lambda: jnp.asarray(ARRAYS["in_step_noise"][len(xs) - 1]), eta)

    first = ARRAYS[f"out_{name}_x"][0]
    if is_scaled(name):
        first = first * rows(case.grid.now, -1).alpha
    with jax.disable_jit():
        last, _ = run(
            sampler._replace(step=step), denoise, jnp.asarray(first, jnp.float32), case.grid, None,
            eta=eta_of(name, case),
        )  # fmt: skip
    ratios = np.array([float(level.ratio) for level in levels] + [case.grid.next.ratio[0]])
    return np.stack([*xs, np.asarray(last)]), np.array([float(level.t) for level in levels]), ratios


def is_scaled(name: str) -> bool:
    """Whether x of a case is x_0 + ratio * noise, and not of unit variance."""
    return f"out_{name}_input" in ARRAYS and not np.allclose(ARRAYS[f"out_{name}_input"][0], ARRAYS[f"out_{name}_x"][0])


@pytest.mark.parametrize("name", NAMES)
def test_the_path_is_the_originals(name):
    case, expected = described(name), ARRAYS[f"out_{name}_x"]
    xs, t, ratios = walked(name, case)
    given = ARRAYS[f"out_{name}_t"]
    np.testing.assert_allclose(t, given, atol=3e-3 if "karras" in name else 1e-4)  # theirs is float32's inverse
    if f"out_{name}_input" in ARRAYS:
        inputs = ARRAYS[f"out_{name}_input"]
        np.testing.assert_allclose(xs[:-1], inputs, rtol=0, atol=1e-5 * np.abs(inputs).max())  # of float32's sigmas
    if is_scaled(name):
        xs = xs * np.sqrt(1 + ratios**2)[:, None, None, None, None]
    if len(expected) < len(xs):  # only whole steps were kept
        between = np.arange(1, len(t), 2) if case.sampler == "heun" else 1
        xs = np.delete(xs, between, 0)
    np.testing.assert_allclose(xs, expected, rtol=0, atol=3e-6 * np.abs(expected).max())


@pytest.mark.parametrize("name", sorted({name.removesuffix("_x") for name in ARRAYS if "sigmas" in name}))
def test_levels_are_the_originals(name):
    """Compared as alpha_bar: their sigmas are made of 1 - alpha_bar in float32, which loses 1.3e-5 at the cleanest.

    That end moves all of Karras' levels.
    """
    kind = {"out_k_all_sigmas": "all", "out_k_sigmas": "log_linspace", "out_k_sigmas_karras": "karras"}.get(name)
    table = process().alpha_bars()
    if kind == "all":
        found = table
    else:
        case = described(name.removeprefix("out_").removesuffix("_sigmas")) if kind is None else Case("euler", kind)
        turns = SAMPLERS[case.sampler].plan(case.grid, jnp.float32)
        found = np.append(turns.level.alpha_bar, case.grid.next.alpha_bar[0])
    given = 1 / (1 + ARRAYS[name].astype(np.float64) ** 2)
    np.testing.assert_allclose(found, given, rtol=1e-5 if "karras" in name else 2e-6)


def test_the_schedule():
    table = process().alpha_bars()
    ends = CONFIG["beta_start"], CONFIG["beta_end"]
    found = betas(CONFIG["beta_schedule"], CONFIG["num_train_timesteps"], *ends)
    np.testing.assert_allclose(found, ARRAYS["out64_betas"], rtol=1e-12)
    np.testing.assert_allclose(table, ARRAYS["out64_alphas_cumprod"], rtol=1e-12)
    without = process(zero_terminal_snr=True, prediction="v").alpha_bars()
    np.testing.assert_allclose(without, ARRAYS["out64_zero_snr_alphas_cumprod"], atol=1e-12)
    np.testing.assert_allclose(without, ARRAYS["out_zero_snr_alphas_cumprod"], atol=1e-6)
    np.testing.assert_allclose(to_zero_terminal_snr(found), ARRAYS["out_zero_snr_betas"], atol=2e-5)


def test_euler_ancestral_is_ddim_with_all_its_noise():
    grid, noise = Case("euler_ancestral", "leading").grid, jnp.asarray(ARRAYS["in_step_noise"])
    x, found = jnp.asarray(ARRAYS["in_x_T"]), []
    for name in ("euler_ancestral", "ddim"):
        turn = rows(SAMPLERS[name].plan(grid, jnp.float32), 3)
        prediction = process().process().predict(jnp.asarray(ARRAYS["in_model_output"][0]), x, turn.level)
        found.append(SAMPLERS[name].step(x, prediction, turn, lambda: noise[0], jnp.float32(1)))
    np.testing.assert_allclose(*found, atol=1e-5)


def test_a_process_has_the_ends_that_are_given():
    level = make_level(np.arange(2), process().alpha_bars()[[0, -1]])
    np.testing.assert_allclose(level.alpha_bar[0], 1 - CONFIG["beta_start"])
    assert process().difference(process()) is None
    message = process().difference(DDPM("ddpm", CONFIG["beta_schedule"], CONFIG["num_train_timesteps"]))
    assert message == f"model.process.beta_start is {CONFIG['beta_start']!r} and the guide's is None"
