"""Which noise levels a sampler visits: a row for each convention of spreading K of them over the T of training."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from glowdiff.errors import require, require_choice
from glowdiff.samplers.levels import Step, make_grid, make_level
from glowdiff.samplers.respacing import space_timesteps

# (alpha_bar of a process [T], K) -> t and alpha_bar of K levels, ascending in t
Places = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]

FINALS = ("data", "first")
RHO = 7  # Karras et al. (2022, eq. 5)
LATEST = 0.85  # of the timesteps: a grid that begins beyond it is near enough to noise (DDIM's 10 steps begin at 0.9),
STARTS = 0.1  # and so is one that begins where x holds no more of the data, alpha: nobody sees that it is not there
LEADING_STARTS = 0.5  # of those that are known for beginning early: nobody would want more
TERMINAL = 2.0**-24  # stands for an alpha_bar of 0 where sigma / alpha must be finite, as in diffusers


def grid(
    alpha_bars: np.ndarray, steps: str, spacing: str = "even", variance: str = "fixed_large", final: str = "data"
) -> Step:
    """The float64 grid of K levels out of a process's T.

    Args:
      alpha_bars: of the process, float64 [T], descending.
      steps: see `space_timesteps`; for spacings other than `even` the number K of steps, from 1 to T.
      spacing: `even`, see `space_timesteps`, or a name of `SPACINGS`.
      variance: see `make_grid`.
      final: where the last step ends: `data`, or `first`: at the noise of the first timestep, as DDIM and PLMS of
        latent diffusion do (diffusers: `set_alpha_to_one=False`).

    Raises:
      ConfigError: `steps`, `spacing` or `final` cannot be used, or leave out all that is nearly noise, from which
        samples start.
    """
    require_choice("sampling.spacing", spacing, SPACINGS)
    require_choice("sampling.final", final, FINALS)
    if spacing == "even":
        t = space_timesteps(len(alpha_bars), steps)
        alpha_bar = alpha_bars[t]
    else:
        t, alpha_bar = SPACINGS[spacing](alpha_bars, _count(len(alpha_bars), steps, spacing))
    if spacing in EARLY:
        _check_start(float(t[-1]), float(np.sqrt(alpha_bar[-1])), len(alpha_bars) - 1, steps, spacing)
    if final == "data":
        return make_grid(t, alpha_bar, variance)
    require(
        alpha_bar[0] < alpha_bars[0],
        f"sampling.final is 'first', but sampling.spacing={spacing} visits the first timestep itself, so there is "
        "nothing left for a last step; use sampling.final=data, or a spacing such as leading.",
    )
    return make_grid(t, alpha_bar, variance, (0.0, float(alpha_bars[0])))


# ---- Whole timesteps.


def even(alpha_bars: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """K timesteps from the first to the last one, see `space_timesteps`."""
    return _whole(alpha_bars, space_timesteps(len(alpha_bars), str(count)))


def trailing(alpha_bars: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Every (T/K)th timestep, counted down from T - 1 (Lin et al., 2023, table 2)."""
    t = np.round(len(alpha_bars) - len(alpha_bars) / count * np.arange(count)[::-1]).astype(np.int64) - 1
    return _whole(alpha_bars, t)


def leading(alpha_bars: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Every (T // K)th from 1 on: Stable Diffusion's own (diffusers: `leading` with `steps_offset=1`)."""
    return _whole(alpha_bars, 1 + np.arange(count) * (len(alpha_bars) // count))


def leading_dpm(alpha_bars: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Every (T // (K + 1))th without the first: `leading` of diffusers' DPM-Solver and UniPC."""
    return _whole(alpha_bars, 1 + np.arange(1, count + 1) * (len(alpha_bars) // (count + 1)))


def _whole(alpha_bars: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    most = len(alpha_bars) - 1
    require(
        t[-1] <= most,
        f"sampling.steps is '{len(t)}', whose noisiest timestep would be {t[-1]}, but the model's last is {most}; use "
        "sampling.spacing=trailing, or fewer steps.",
    )
    return t, alpha_bars[t]


# ---- Between timesteps: t is a float.


def linspace(alpha_bars: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Evenly from 0 to T - 1, sigma / alpha interpolated between timesteps (diffusers' Euler and Heun)."""
    t = np.linspace(len(alpha_bars) - 1, 0, count)[::-1]
    return t, _alpha_bar(np.interp(t, np.arange(len(alpha_bars)), _ratio(alpha_bars)))


def log_linspace(alpha_bars: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The same with log(sigma / alpha) interpolated (k-diffusion's `get_sigmas`)."""
    t = np.linspace(len(alpha_bars) - 1, 0, count)[::-1]
    return t, _alpha_bar(np.exp(np.interp(t, np.arange(len(alpha_bars)), np.log(_ratio(alpha_bars)))))


def log_snr(alpha_bars: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Evenly in log(alpha / sigma) (Lu et al., 2022), from the noise of t = T - 1 to that of t = 0.

    Where T - 1 has no signal at all (zero terminal SNR), from the noisiest timestep that has some.
    """
    return _spread(alpha_bars, alpha_bars, count, lambda half_log_snr: half_log_snr, lambda even: even)


def karras(alpha_bars: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Evenly in (sigma / alpha)^(1/7) (Karras et al., 2022, eq. 5), with the ends of `log_snr`; as in k-diffusion."""
    return _karras(alpha_bars, alpha_bars, count)


def karras_quantised(alpha_bars: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Those of `karras`, of which the network is told the nearest whole timestep (diffusers' DPM-Solver and UniPC)."""
    t, alpha_bar = karras(alpha_bars, count)
    return np.round(t), alpha_bar


def karras_leading(alpha_bars: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Those of Karras et al. between the ends of `leading` (diffusers' Euler and Heun with Karras' sigmas)."""
    return _karras(alpha_bars, leading(alpha_bars, count)[1], count)


def _karras(alpha_bars: np.ndarray, ends: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    return _spread(
        alpha_bars, ends, count, lambda half_log_snr: np.exp(-half_log_snr / RHO), lambda even: -RHO * np.log(even)
    )


def _spread(
    alpha_bars: np.ndarray,
    ends: np.ndarray,
    count: int,
    measure: Callable[[np.ndarray], np.ndarray],
    inverse: Callable[[np.ndarray], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Levels evenly spaced in a measure of log(alpha / sigma), between the first and the last usable of `ends`.

    t is what log(sigma / alpha) is between timesteps, interpolated.
    """
    usable, between = (each[np.isfinite(each)] for each in map(_half_log_snr, (alpha_bars, ends)))
    # From noise to data and back again, so that a single level is the noisiest.
    lambdas = inverse(np.linspace(measure(between[-1]), measure(between[0]), count))[::-1]
    t = np.interp(lambdas, usable[::-1], np.arange(len(usable))[::-1])
    return t, 1 / (1 + np.exp(-2 * lambdas))


def _half_log_snr(alpha_bar: np.ndarray) -> np.ndarray:
    return make_level(np.arange(len(alpha_bar)), alpha_bar).half_log_snr


def _ratio(alpha_bars: np.ndarray) -> np.ndarray:
    """The ratio sigma / alpha, finite."""
    alpha_bars = np.maximum(alpha_bars, TERMINAL)
    return np.sqrt((1 - alpha_bars) / alpha_bars)


def _alpha_bar(ratio: np.ndarray) -> np.ndarray:
    return 1 / (1 + ratio**2)


SPACINGS: dict[str, Places] = {
    "even": even,
    "trailing": trailing,
    "leading": leading,
    "leading_dpm": leading_dpm,
    "linspace": linspace,
    "log_linspace": log_linspace,
    "log_snr": log_snr,
    "karras": karras,
    "karras_quantised": karras_quantised,
    "karras_leading": karras_leading,
}
EARLY = {  # what x may hold of the data where they begin: those that may leave out the last timesteps
    "even": STARTS,
    "leading": LEADING_STARTS,
    "leading_dpm": LEADING_STARTS,
    "karras_leading": LEADING_STARTS,
}


# ---- Checks.


def _check_start(start: float, alpha: float, last: int, steps: str, spacing: str) -> None:
    """Raise `ConfigError` if x holds much of the data at the noisiest timestep that is kept, where samples start."""
    plain = "" if steps.isdecimal() else " with a plain number of steps"
    require(
        start >= LATEST * last or alpha <= EARLY[spacing],
        f"sampling.steps is {steps!r}, whose noisiest timestep is {start:g} of {last}: x holds {100 * alpha:.0f}% of "
        f"the data there, but samples start from noise. Use sampling.spacing=trailing{plain}, or more steps at the "
        "end.",
    )


def _count(timesteps: int, steps: str, spacing: str) -> int:
    require(
        re.fullmatch(r"\d+", steps) is not None,
        f"sampling.steps is {steps!r}, but sampling.spacing is {spacing!r}, which needs a plain number such as '50'.",
    )
    count = int(steps)
    require(
        1 <= count <= timesteps,
        f"sampling.steps is {steps!r}; it must be from 1 to {timesteps}, the timesteps of the model.",
    )
    return count
