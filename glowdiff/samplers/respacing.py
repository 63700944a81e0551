"""The originals' respacing strings: which timesteps `250`, `10,10,5`, `ddim50` and `fast27` keep."""

from __future__ import annotations

import re

import numpy as np

from glowdiff.errors import ConfigError, require

FAST27 = "10,10,3,2,2"


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
