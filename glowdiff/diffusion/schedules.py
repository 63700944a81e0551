"""How fast a process adds noise: betas in float64, beta_t = 1 - alpha_bar_t / alpha_bar_{t-1}."""

from __future__ import annotations

import numpy as np

from glowdiff.errors import require, require_choice

SCHEDULES = ("linear", "scaled_linear", "cosine", "squaredcos_cap_v2")  # the last is GLIDE's name of cosine
ENDS = {"linear": (1e-4, 0.02), "scaled_linear": (0.00085, 0.012)}  # first and last beta at 1000 timesteps


def betas(name: str, timesteps: int, start: float | None = None, end: float | None = None) -> np.ndarray:
    """The betas of a published schedule, float64 [timesteps].

    Args:
      name: `linear` (Ho et al., 2020), 1e-4 ... 0.02 at 1000 timesteps and in proportion at others; `scaled_linear`
        (Rombach et al., 2022, whose code calls it linear), linear in sqrt(beta), 0.00085 ... 0.012 likewise; or
        `cosine` (Nichol & Dhariwal, 2021, eq. 17), capped at 0.999, which is also known as `squaredcos_cap_v2`.
      timesteps: T.
      start: the first beta of the linear ones, as it is for any T; None: as above.
      end: the last one, likewise.

    Raises:
      ConfigError: no such schedule, or too few timesteps for it.
    """
    require_choice("model.process.schedule", name, SCHEDULES)
    if name in ENDS:
        first, last = (1000 / timesteps * each for each in ENDS[name])
        least = round(1000 * ENDS[name][1])
        require(
            end is not None or last < 1,
            f"model.process.timesteps is {timesteps}, but model.process.schedule {name!r} needs more than {least}; "
            "'cosine' does not.",
        )
        first, last = first if start is None else start, last if end is None else end
        if name == "scaled_linear":
            return np.linspace(first**0.5, last**0.5, timesteps) ** 2
        return np.linspace(first, last, timesteps)
    require(timesteps > 0, f"model.process.timesteps is {timesteps}; it must be at least 1.")
    kept = np.cos((np.arange(timesteps + 1) / timesteps + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.minimum(1 - kept[1:] / kept[:-1], 0.999)


def to_zero_terminal_snr(betas: np.ndarray) -> np.ndarray:
    """Betas shifted and scaled so that nothing of the data is left at the last timestep (Lin et al., 2023, alg. 1).

    The first beta is kept, the last becomes 1. Takes at least two timesteps.
    """
    alpha = np.sqrt(np.cumprod(1 - betas))
    alpha = (alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])
    alpha_bar = alpha**2
    return 1 - alpha_bar / np.append(1.0, alpha_bar[:-1])


def alpha_bars(
    name: str,
    timesteps: int,
    zero_terminal_snr: bool = False,
    *,
    start: float | None = None,
    end: float | None = None,
) -> np.ndarray:
    """alpha_bar of every timestep, float64 [timesteps], see `betas`; with `zero_terminal_snr` it ends at 0."""
    table = betas(name, timesteps, start, end)
    return np.cumprod(1 - (to_zero_terminal_snr(table) if zero_terminal_snr else table))
