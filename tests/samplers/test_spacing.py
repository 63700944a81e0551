"""Which levels samplers visit."""

import numpy as np
import pytest

from glowdiff.diffusion.schedules import alpha_bars
from glowdiff.errors import ConfigError
from glowdiff.samplers.levels import up_to
from glowdiff.samplers.respacing import space_timesteps
from glowdiff.samplers.spacing import EARLY, SPACINGS, STARTS, TERMINAL, grid
from tests import small

TABLES = {
    "cosine": alpha_bars("cosine", 1000),
    "linear": alpha_bars("linear", 1000),
    "zero_terminal_snr": alpha_bars("linear", 1000, zero_terminal_snr=True),
}


@pytest.mark.parametrize("steps", ["27", "fast27", "100", "10,10,5", "ddim50", "ddim100"])
def test_the_originals_steps(steps):
    with np.load(small.ROOT / "tests" / "golden" / "respacing.npz", allow_pickle=False) as golden:
        expected = golden[f"s_{steps.replace(',', '_')}"]
    np.testing.assert_array_equal(space_timesteps(1000, steps), expected)


def test_all_steps_are_the_process_itself():
    np.testing.assert_array_equal(space_timesteps(37, "37"), np.arange(37))
    np.testing.assert_array_equal(space_timesteps(37, "ddim37"), np.arange(37))
    np.testing.assert_array_equal(grid(TABLES["linear"], "1000", "trailing").now.t, np.arange(1000))


@pytest.mark.parametrize(
    ("steps", "spacing", "message"),
    [
        ("1001", "even", r"sampling\.steps is '1001', .* 1001 steps, but the model's timesteps have only 1000"),
        ("10,501", "even", r"asks for 501 steps, but the 2 sections of 1000 timesteps have only 500 each"),
        ("ddim300", "even", r"no stride .* gives exactly 300; nearest that work: ddim250, ddim334"),
        ("ten", "even", r"sampling\.steps is 'ten'; it must be a number of steps \('250'\)"),
        ("10,,5", "even", r"sampling\.steps is '10,,5'; it must be"),
        ("10,0", "even", "must be at least 1"),
        ("ddim50", "karras", r"sampling\.spacing is 'karras', which needs a plain number"),
        ("1001", "trailing", "from 1 to 1000, the timesteps of the model"),
        ("10", "uniform", r"sampling\.spacing is 'uniform'; it must be one of even, trailing"),
    ],
)
def test_what_cannot_be_is_said_in_the_users_words(steps, spacing, message):
    with pytest.raises(ConfigError, match=message):
        grid(TABLES["linear"], steps, spacing)


@pytest.mark.parametrize(
    ("steps", "schedule", "start"),
    [
        ("1", "linear", 0),
        ("1", "cosine", 0),
        ("10,10,1", "linear", 667),
        ("10,10,1", "cosine", 667),
        ("5,1", "cosine", 500),
        ("ddim1", "linear", 0),
        ("ddim2", "linear", 500),
        ("ddim5", "cosine", 800),
        ("1,1,1,1", "cosine", 750),
    ],
)
def test_steps_that_begin_far_from_noise_are_refused_with_a_hint(steps, schedule, start):
    space_timesteps(1000, steps)  # the originals' arithmetic stands
    with pytest.raises(ConfigError, match=rf"noisiest timestep is {start} of 999.*Use sampling\.spacing=trailing"):
        grid(TABLES[schedule], steps)


@pytest.mark.parametrize("steps", ["2", "27", "fast27", "10,10,5", "ddim25", "ddim50", "1,1,2"])
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_steps_that_begin_near_noise_are_not(steps, schedule):
    assert grid(TABLES[schedule], steps).now.alpha[-1] <= STARTS


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_ten_steps_of_ddim_s_paper_are_taken(schedule):
    assert grid(TABLES[schedule], "ddim10").now.t[-1] == 900


def test_trailing_steps_include_the_last_timestep():
    """As table 2 of Lin et al. (2023) has them."""
    np.testing.assert_array_equal(grid(TABLES["linear"], "10", "trailing").now.t, np.arange(99, 1000, 100))
    np.testing.assert_array_equal(grid(TABLES["linear"], "7", "trailing").now.t, [142, 285, 428, 570, 713, 856, 999])
    assert grid(TABLES["zero_terminal_snr"], "7", "trailing").now.alpha_bar[-1] == 0


@pytest.mark.parametrize("table", TABLES)
def test_log_snr_and_karras_are_even_in_their_own_measure(table):
    last = 998 if table == "zero_terminal_snr" else 999  # the noisiest timestep with a finite ratio
    for spacing, measure in (
        ("log_snr", lambda level: level.half_log_snr),
        ("karras", lambda level: level.ratio ** (1 / 7)),
    ):
        level = grid(TABLES[table], "9", spacing).now
        gaps = np.diff(measure(level))
        np.testing.assert_allclose(gaps, gaps[0], rtol=1e-9)
        np.testing.assert_allclose(level.t[[0, -1]], [0, last])
        np.testing.assert_allclose(level.alpha_bar[[0, -1]], TABLES[table][[0, last]])
        # t in between is where the process has that noise.
        below, above = TABLES[table][np.ceil(level.t).astype(int)], TABLES[table][np.floor(level.t).astype(int)]
        assert (below * (1 - 1e-9) <= level.alpha_bar).all()
        assert (level.alpha_bar <= above * (1 + 1e-9)).all()


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("table", TABLES)
def test_every_grid_descends_to_data(spacing, table):
    for count in ("2", "12") if spacing == "even" else ("3", "12") if spacing in EARLY else ("1", "2", "12"):
        levels = grid(TABLES[table], count, spacing)
        assert len(levels.beta) == int(count)
        assert (np.diff(levels.now.t) > -(spacing == "karras_quantised")).all()
        assert (np.diff(levels.now.alpha_bar) < 0).all()
        assert levels.next.t[0] == -1
        assert levels.next.alpha_bar[0] == 1
        np.testing.assert_array_equal(levels.next.t[1:], levels.now.t[:-1])
        for array in (levels.beta, levels.posterior_x_0, levels.posterior_x_t, levels.log_variance, levels.log_beta):
            assert np.isfinite(array).all()
        assert levels.now.t[-1] >= 998 or spacing.endswith(("leading", "leading_dpm"))


LDM = alpha_bars("scaled_linear", 1000)


def test_leading_steps_are_stable_diffusions():
    """As many as are asked for, where the original takes one more if they do not divide T."""
    np.testing.assert_array_equal(grid(LDM, "50", "leading").now.t, np.arange(1, 1000, 20))
    for count in (3, 7, 9, 27, 36, 37, 101, 111):  # the original has 1001 among those of most of these
        t = grid(LDM, str(count), "leading").now.t
        np.testing.assert_array_equal(t, 1 + (1000 // count) * np.arange(count))
    np.testing.assert_array_equal(grid(LDM, "10", "leading_dpm").now.t, np.arange(91, 902, 90))
    assert grid(LDM, "999", "leading").now.t[-1] == 999


@pytest.mark.parametrize("spacing", ["leading", "leading_dpm"])
def test_leading_steps_that_leave_the_table_or_noise_are_refused(spacing):
    with pytest.raises(ConfigError, match=r"noisiest timestep would be 1000, but the model's last is 999; use .*trail"):
        grid(LDM, "1000" if spacing == "leading" else "999", spacing)
    with pytest.raises(ConfigError, match=r"whose noisiest timestep is \d+ of 999: x holds .*spacing=trailing"):
        grid(LDM, "1", spacing)


def test_the_ratio_or_its_logarithm_is_interpolated():
    """Between t = 142 and 143 of seven levels; what diffusers does, and what k-diffusion does."""
    ratio = np.sqrt(1 / LDM - 1)
    linear, log = (grid(LDM, "8", spacing).now for spacing in ("linspace", "log_linspace"))
    np.testing.assert_allclose(linear.t, np.linspace(0, 999, 8))
    np.testing.assert_array_equal(linear.t, log.t)
    low, share = int(linear.t[1]), linear.t[1] % 1
    assert 0.5 < share < 0.9
    np.testing.assert_allclose(linear.ratio[1], ratio[low] * (1 - share) + ratio[low + 1] * share)
    np.testing.assert_allclose(log.ratio[1], ratio[low] ** (1 - share) * ratio[low + 1] ** share)
    for spacing in ("linspace", "log_linspace"):
        np.testing.assert_allclose(grid(TABLES["zero_terminal_snr"], "8", spacing).now.alpha_bar[-1], TERMINAL)


def test_karras_levels_have_the_ends_that_each_library_gives_them():
    whole, rounded, own = (grid(LDM, "12", f"karras{kind}").now for kind in ("", "_quantised", "_leading"))
    np.testing.assert_array_equal(rounded.alpha_bar, whole.alpha_bar)
    np.testing.assert_array_equal(rounded.t, np.round(whole.t))
    ends = grid(LDM, "12", "leading").now.t[[0, -1]]
    np.testing.assert_allclose(own.t[[0, -1]], ends)
    gaps = np.diff(own.ratio ** (1 / 7))
    np.testing.assert_allclose(gaps, gaps[0], rtol=1e-9)


def test_the_last_step_may_end_at_the_first_timestep():
    levels = grid(LDM, "10", "leading", final="first")
    assert (levels.next.t[0], levels.next.alpha_bar[0]) == (0, LDM[0])
    assert up_to(levels, 350.0, LDM[350]).next.alpha_bar[0] == LDM[0]
    assert up_to(levels, 0.0, LDM[0]).next.alpha_bar[0] == 1
    with pytest.raises(ConfigError, match="spacing=karras visits the first timestep itself, so there is nothing left"):
        grid(LDM, "10", "karras", final="first")
    with pytest.raises(ConfigError, match=r"sampling\.final is 'zero'; it must be one of data, first"):
        grid(LDM, "10", "leading", final="zero")
