"""Samples that are no pictures: how many they are, and what to try."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from glowdiff.errors import require

_TEMPERED = ("temperature", "guidance_scale")  # options by which numbers grow


def not_finite(finite: np.ndarray, stages: Sequence[str] = ()) -> str:
    """What to say of samples of which some are not finite, such as "3 of 16 samples are not finite"; empty: all are.

    Args:
      finite: bool [n], or of a cascade [n, stages].
      stages: what the stages of a cascade are called. The first one at fault is named: all behind it are led astray.
    """
    columns = finite.reshape(len(finite), -1)
    for number, column in enumerate(columns.T):
        if not column.all():
            of = f" of {stages[number]}" if stages else ""
            verb = "is" if (~column).sum() == 1 else "are"
            return f"{(~column).sum():,} of {len(column):,} samples{of} {verb} not finite (NaN or infinite)"
    return ""


def check_finite(finite: np.ndarray, options: Collection[str], stages: Sequence[str] = ()) -> None:
    """Raise `ConfigError` if samples are not finite, with what to try.

    Args:
      finite: as of `not_finite`; so is the next.
      options: names of those that the samples depend on; none: they are those of latents that somebody gave.
      stages: of a cascade.
    """
    fault = not_finite(finite, stages)
    smaller = " or ".join(each for each in _TEMPERED if each in options)
    guides = ", guides that pull less" if "guides" in options else ""
    less = f"a smaller {smaller}{guides}" if smaller else "latents nearer to white noise"
    require(
        not fault,
        f"{fault}, so there is no picture of them. Try {less}, another checkpoint (step) or raw parameters (no ema); "
        "allow_nonfinite draws them all the same, black or white where they are no numbers.",
    )
