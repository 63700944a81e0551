"""The process, beyond what the goldens pin."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glowdiff.diffusion.process import DDPM, PREDICTIONS, Process
from glowdiff.diffusion.schedules import alpha_bars, betas
from glowdiff.errors import ConfigError
from glowdiff.samplers.levels import as_dtype, rows

LINEAR = alpha_bars("linear", 1000)
TERMINAL = alpha_bars("cosine", 50, zero_terminal_snr=True)


def normal(seed, shape=(3, 2, 2, 1)):
    return jax.random.normal(jax.random.key(seed), shape)


def test_networks_see_timesteps_as_of_a_thousand():
    """Improved DDPM's T = 4000; the goldens have 1000 only."""
    process = Process(alpha_bars("cosine", 4000), rescale_timesteps=True)
    t = process.training_grid().now.t[[0, 1, 3999]]
    np.testing.assert_allclose(process.network_time(t), [0, 0.25, 999.75])
    plain = dataclasses.replace(process, rescale_timesteps=False)
    np.testing.assert_allclose(plain.network_time(t), [0, 1, 3999])


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_target_is_read_back_as_data_and_noise(prediction):
    process = Process(LINEAR, prediction)
    level = rows(as_dtype(process.training_grid(), jnp.float32), np.array([3, 300, 700])).now
    x_0, noise = normal(0), normal(1)
    said = process.predict(process.target(x_0, level, noise), process.q_sample(x_0, level, noise), level)
    np.testing.assert_allclose(said.x_0, x_0, atol=1e-4)
    np.testing.assert_allclose(said.eps, noise, atol=1e-4)


def test_zero_terminal_snr():
    """Algorithm 1 of Lin et al. (2023): the first level stays, the last has no signal, the others move with them."""
    plain = alpha_bars("cosine", 50)
    assert TERMINAL[-1] == 0
    np.testing.assert_allclose(TERMINAL[0], plain[0])
    gaps = np.sqrt(TERMINAL[:-1]) - np.sqrt(TERMINAL[1:])
    ratio = gaps / (np.sqrt(plain[:-1]) - np.sqrt(plain[1:]))
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)


@pytest.mark.parametrize("prediction", ["v", "x_0"])
def test_predictions_survive_pure_noise(prediction):
    process = Process(TERMINAL, prediction)
    level = rows(as_dtype(process.training_grid(), jnp.float32), -1).now
    x_0, noise = normal(0), normal(1)
    x_t = process.q_sample(x_0, level, noise)
    np.testing.assert_array_equal(x_t, noise)
    said = process.predict(process.target(x_0, level, noise), x_t, level)
    np.testing.assert_allclose(said.x_0, x_0, atol=1e-6)
    np.testing.assert_allclose(said.eps, noise, atol=1e-6)


def test_bfloat16_outputs_are_read_in_float32():
    process = Process(LINEAR, variance="learned")
    level = rows(as_dtype(process.training_grid(), jnp.float32), 500).now
    said = process.predict(normal(0, (3, 2, 2, 2)).astype(jnp.bfloat16), normal(1), level)
    assert {array.dtype for array in (said.x_0, said.eps, said.fraction)} == {jnp.dtype("float32")}
    assert said.fraction.shape == said.x_0.shape == (3, 2, 2, 1)


def test_what_cannot_be_is_said_in_the_users_words():
    with pytest.raises(
        ConfigError, match=r"model\.process\.prediction is 'eps', but with zero terminal SNR .*'v' or 'x_0'"
    ):
        Process(TERMINAL)
    with pytest.raises(ConfigError, match=r"model\.process\.prediction is 'x0'; it must be one of eps, x_0, v"):
        Process(LINEAR, "x0")
    with pytest.raises(ConfigError, match=r"model\.process\.schedule is 'sigmoid'"):
        betas("sigmoid", 10)
    with pytest.raises(ConfigError, match=r"model\.process\.timesteps is 20, .*more than 20"):
        betas("linear", 20)
    with pytest.raises(ConfigError, match=r"model\.process\.timesteps is 12, .*'scaled_linear' needs more than 12"):
        betas("scaled_linear", 12)


def test_both_names_of_cosine():
    np.testing.assert_array_equal(betas("cosine", 100), betas("squaredcos_cap_v2", 100))


def test_ends_of_linear_schedules():
    """In proportion to T where none are given."""
    root = np.sqrt(betas("scaled_linear", 100))
    np.testing.assert_allclose(np.diff(root), root[1] - root[0])
    np.testing.assert_allclose(root[[0, -1]] ** 2, [0.0085, 0.12])
    np.testing.assert_allclose(betas("linear", 10, 0.1, 0.2), np.linspace(0.1, 0.2, 10))
    np.testing.assert_allclose(betas("scaled_linear", 50, end=0.5)[[0, -1]], [0.017, 0.5])


@pytest.mark.parametrize(
    ("message", "keys"),
    {
        r"beta_start is 0\.1, but p\.schedule is 'cosine', which has no ends": {
            "schedule": "cosine",
            "beta_start": 0.1,
        },
        r"p\.beta_end is 1\.0; it must be between 0 and 1": {"beta_end": 1.0},
        r"p\.beta_start is 0\.03, which is not below p\.beta_end=0\.02": {"beta_start": 0.03},
        r"p\.beta_start is 0\.02, which is not below p\.beta_end=0\.01": {"beta_start": 0.02, "beta_end": 0.01},
    }.items(),
)
def test_ends_that_cannot_be(message, keys):
    with pytest.raises(ConfigError, match=message):
        DDPM("ddpm", **keys).check("p")
