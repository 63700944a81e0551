"""What the processes of a run do alike, although they see a file system each."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

from glowdiff.errors import ConfigError
from glowdiff.workdir.faults import DamagedError, UnreadableError, first_line, is_unreadable

PAUSES = (1.0, 5.0)  # seconds between the tries at what cannot be read
_INTACT, _UNREADABLE, _DAMAGED = range(3)

T = TypeVar("T")


def together(read: Callable[[], T]) -> T:
    """What `read` returns, tried again where a disk or a store could not be read.

    Raises:
      DamagedError: in every process if it failed in any.
      UnreadableError: in every process if it could not be read in any, however often it was tried.
    """
    for pause in (*PAUSES, None):
        result, problem, state = None, "", _INTACT
        try:
            result = read()
        except (MemoryError, jax.errors.JaxRuntimeError):
            raise  # says nothing about the files
        except Exception as error:  # Orbax's errors for damaged files are of many types.
            problem, state = first_line(error), _UNREADABLE if is_unreadable(error) else _DAMAGED
        states = [state]
        if jax.process_count() > 1:
            states = [int(each) for each in np.ravel(multihost_utils.process_allgather(np.array(state)))]
        worst = max(states)
        if worst == _INTACT:
            return result  # pyright: ignore[reportReturnType]
        problem = problem if state == worst else f"process {states.index(worst)} could not read it"
        if worst == _DAMAGED:
            raise DamagedError(problem)
        if pause is None:
            raise UnreadableError(problem)
        logging.warning("%s. Trying again in %g s.", problem, pause)
        time.sleep(pause)
    raise AssertionError


def everywhere(here: bool) -> bool:
    """Whether it is so in all processes; every process must call it."""
    if jax.process_count() == 1:
        return here
    return bool(np.asarray(multihost_utils.process_allgather(np.asarray(here))).all())


def first_alone(check: Callable[[], None]) -> None:
    """Run `check` in the first process, which the others wait for; every process must call it.

    Raises:
      ConfigError: `check` did, of which the others know no more.
    """
    error: ConfigError | None = None
    if jax.process_index() == 0:
        try:
            check()
        except ConfigError as found:
            error = found
    if not everywhere(error is None):
        raise error or ConfigError("the first process has refused what was asked for; it says why.")


def from_first_process(steps: list[int]) -> list[int]:
    """What process 0 sees, so that all decide alike on a file system that shows changes late."""
    if jax.process_count() == 1:
        return steps
    count = int(multihost_utils.broadcast_one_to_all(np.array(len(steps))))
    mine = np.array([*steps, *[0] * count][:count], np.int32)
    return [int(step) for step in multihost_utils.broadcast_one_to_all(mine)] if count else []
