"""How fast a process adds noise: betas in float64, beta_t = 1 - alpha_bar_t / alpha_bar_{t-1}."""

from __future__ import annotations

import numpy as np

from glowdiff.errors import require, require_choice

SCHEDULES = ("linear", "cosine", "squaredcos_cap_v2")  # the last is GLIDE's name of cosine


def betas(name: str, timesteps: int) -> np.ndarray:
    """The betas of a published schedule, float64 [timesteps].

    Args:
      name: `linear` (Ho et al., 2020), 1e-4 ... 0.02 at 1000 timesteps and in proportion at others, or `cosine`
        (Nichol & Dhariwal, 2021, eq. 17), capped at 0.999, which is also known as `squaredcos_cap_v2`.
      timesteps: T.

    Raises:
      ConfigError: no such schedule, or too few timesteps for it.
    """
    require_choice("model.process.schedule", name, SCHEDULES)
    if name == "linear":
        require(
            timesteps > 20,
            f"model.process.timesteps is {timesteps}, but model.process.schedule 'linear' needs more than 20; "
            "'cosine' does not.",
        )
        scale = 1000 / timesteps
        return np.linspace(1e-4 * scale, 0.02 * scale, timesteps)
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


def alpha_bars(name: str, timesteps: int, zero_terminal_snr: bool = False) -> np.ndarray:
    """alpha_bar of every timestep, float64 [timesteps]; with `zero_terminal_snr` it ends at 0."""
    table = betas(name, timesteps)
    return np.cumprod(1 - (to_zero_terminal_snr(table) if zero_terminal_snr else table))
