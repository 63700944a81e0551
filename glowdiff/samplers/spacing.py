"""Which noise levels a sampler visits: the originals' respacing strings, and three other ways to spread K levels."""

from __future__ import annotations

import re

import numpy as np

from glowdiff.errors import ConfigError, require, require_choice
from glowdiff.samplers.levels import Step, make_grid, make_level

SPACINGS = ("even", "trailing", "log_snr", "karras")

RHO = 7  # Karras et al. (2022, eq. 5)
FAST27 = "10,10,3,2,2"
LATEST = 0.85  # of the timesteps: a grid that begins beyond it is near enough to noise (DDIM's 10 steps begin at 0.9),
STARTS = 0.1  # and so is one that begins where x holds no more of the data, alpha: nobody sees that it is not there


def grid(alpha_bars: np.ndarray, steps: str, spacing: str = "even", variance: str = "fixed_large") -> Step:
    """The float64 grid of K levels out of a process's T.

    Args:
      alpha_bars: of the process, float64 [T], descending.
      steps: see `space_timesteps`; for spacings other than `even` the number K of steps, from 1 to T.
      spacing: `even`: `space_timesteps`. `trailing`: every (T/K)th timestep, counted down from T - 1 (Lin et al.,
        2023, table 2). `log_snr`: evenly spaced in log(alpha / sigma) (Lu et al., 2022). `karras`: evenly spaced in
        (sigma / alpha)^(1/7) (Karras et al., 2022, eq. 5). The last two reach from the noise of t = T - 1 to that of
        t = 0, with t in between a float; where T - 1 has no signal at all (zero terminal SNR), from the noisiest
        timestep that has some.
      variance: see `make_grid`.

    Raises:
      ConfigError: `steps` or `spacing` cannot be used, or leave out all that is nearly noise, from which samples start.
    """
    require_choice("sampling.spacing", spacing, SPACINGS)
    if spacing == "even":
        t = space_timesteps(len(alpha_bars), steps)
        _check_start(int(t[-1]), alpha_bars, steps)
        return make_grid(t, alpha_bars[t], variance)
    count = _count(len(alpha_bars), steps, spacing)
    if spacing == "trailing":
        stride = len(alpha_bars) / count
        t = np.round(len(alpha_bars) - stride * np.arange(count)[::-1]).astype(np.int64) - 1
        return make_grid(t, alpha_bars[t], variance)
    half_log_snr = make_level(np.arange(len(alpha_bars)), alpha_bars).half_log_snr
    usable = half_log_snr[np.isfinite(half_log_snr)]
    # From noise to data and back again, so that a single level is the noisiest.
    if spacing == "log_snr":
        lambdas = np.linspace(usable[-1], usable[0], count)[::-1]
    else:
        noisy, clean = np.exp(-usable[-1] / RHO), np.exp(-usable[0] / RHO)
        lambdas = -RHO * np.log(np.linspace(noisy, clean, count))[::-1]
    t = np.interp(lambdas, usable[::-1], np.arange(len(usable))[::-1])
    return make_grid(t, 1 / (1 + np.exp(-2 * lambdas)), variance)


def space_timesteps(timesteps: int, steps: str) -> np.ndarray:
    """The timesteps that a respacing string of the originals keeps.

    Args:
      timesteps: T, of the process.
      steps: `250`: so many, evenly. `10,10,5`: so many out of each section, which are equally long (the first ones by
        one longer if need be). `ddim50`: every n-th from 0 on (Song et al., 2021), for the n that gives exactly 50.
        `fast27`: GLIDE's.

    Returns:
      Ascending integers in [0, T).

    Raises:
      ConfigError: the string is not one of these, or asks for more than there is.
    """
    if match := re.fullmatch(r"ddim(\d+)", steps):
        return _strided(timesteps, int(match[1]))
    if steps == "fast27":
        # The very last timestep makes artefacts with DDIM (Nichol et al., 2021).
        kept = _sections(timesteps, FAST27)
        return np.append(kept[:-1], timesteps - 3)
    return _sections(timesteps, steps)


def _check_start(start: int, alpha_bars: np.ndarray, steps: str) -> None:
    """Raise `ConfigError` if x holds much of the data at the noisiest timestep that is kept, where samples start."""
    last, alpha = len(alpha_bars) - 1, float(np.sqrt(alpha_bars[start]))
    plain = "" if steps.isdecimal() else " with a plain number of steps"
    require(
        start >= LATEST * last or alpha <= STARTS,
        f"sampling.steps is {steps!r}, whose noisiest timestep is {start} of {last}: x holds {100 * alpha:.0f}% of the "
        f"data there, but samples start from noise. Use sampling.spacing=trailing{plain}, or more steps at the end.",
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


def _strided(timesteps: int, count: int) -> np.ndarray:
    counts = {-(-timesteps // stride): stride for stride in range(timesteps, 0, -1)}
    if count not in counts:
        nearest = sorted(sorted(counts, key=lambda other: abs(other - count))[:2])
        raise ConfigError(
            f"sampling.steps is 'ddim{count}', but no stride through {timesteps} timesteps gives exactly {count}; "
            f"nearest that work: {', '.join(f'ddim{other}' for other in nearest)}."
        )
    return np.arange(0, timesteps, counts[count])


def _sections(timesteps: int, steps: str) -> np.ndarray:
    require(
        re.fullmatch(r"\d+(,\d+)*", steps) is not None,
        f"sampling.steps is {steps!r}; it must be a number of steps ('250'), numbers for equal sections of the "
        "process, clean to noisy ('10,10,5'), 'ddim' and a number ('ddim50'), or 'fast27'.",
    )
    counts = [int(count) for count in steps.split(",")]
    require(min(counts) >= 1, f"sampling.steps is {steps!r}; every number in it must be at least 1.")
    size, longer = divmod(timesteps, len(counts))
    kept, start = [], 0
    for section, count in enumerate(counts):
        length = size + (section < longer)
        where = f"the {len(counts)} sections of {timesteps} timesteps" if len(counts) > 1 else "the model's timesteps"
        require(
            count <= length,
            f"sampling.steps is {steps!r}, which asks for {count} steps, but {where} have only {length}"
            + (" each." if len(counts) > 1 else "."),
        )
        # Summed up, as the originals do: a product would round another way at halves.
        strides = np.full(count, (length - 1) / (count - 1) if count > 1 else 1.0)
        strides[0] = 0
        kept.append(start + np.round(np.cumsum(strides)).astype(np.int64))
        start += length
    return np.concatenate(kept)
