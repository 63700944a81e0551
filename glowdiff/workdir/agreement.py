"""What the processes of a run do alike, although they see a file system each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from glowdiff.workdir.manifest import DamagedError

T = TypeVar("T")


def together(read: Callable[[], T]) -> T:
    """What `read` returns; `DamagedError` in every process if it failed in any."""
    result, problem = None, ""
    try:
        result = read()
    except (MemoryError, jax.errors.JaxRuntimeError):
        raise  # says nothing about the files
    except Exception as error:  # Orbax's errors for damaged files are of many types.
        problem = first_line(error)
    problems = [problem]
    if jax.process_count() > 1:
        failed = np.ravel(multihost_utils.process_allgather(np.array(bool(problem))))
        problems = [problem or f"process {index} could not read it" for index in np.flatnonzero(failed)]
    if any(problems):
        raise DamagedError(problems[0])
    return result  # pyright: ignore[reportReturnType]


def from_first_process(steps: list[int]) -> list[int]:
    """What process 0 sees, so that all decide alike on a file system that shows changes late."""
    if jax.process_count() == 1:
        return steps
    count = int(multihost_utils.broadcast_one_to_all(np.array(len(steps))))
    mine = np.array([*steps, *[0] * count][:count], np.int32)
    return [int(step) for step in multihost_utils.broadcast_one_to_all(mine)] if count else []


def first_line(error: BaseException) -> str:
    """The part of an error's message that fits into a message of ours."""
    lines = str(error).strip().splitlines()
    text = lines[0][:300] if lines else ""
    return text if isinstance(error, DamagedError) else f"{type(error).__name__}: {text}"
