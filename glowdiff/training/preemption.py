"""Stopping at a step's boundary when the scheduler takes the machine away."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

import jax
from absl import logging
from jax.experimental import multihost_utils


class Preemption:
    """Notices SIGTERM while it is entered, and says at which step to save and stop.

    Enter it before anything compiles (but after `jax.distributed.initialize`, if that is called): a signal that comes
    while XLA compiles, or during evaluation or sampling, is remembered and reported at the next `requested`. A plain
    process sets a flag from a handler of its own. After `jax.distributed.initialize` JAX has a handler, which agrees
    with the other processes on a step that none has passed yet; then the signal is left to it.

        with Preemption() as preemption:
            for step in range(start, steps):
                ...
                if preemption.requested(step + 1):
                    checkpoints.save(step + 1, ...)
                    break
    """

    def __init__(self) -> None:
        self._signalled = False
        self._installed = False
        self._earlier: Any = None

    def __enter__(self) -> Preemption:
        self._signalled = False
        if jax.distributed.is_initialized():
            return self
        if threading.current_thread() is not threading.main_thread():
            logging.warning("Not in the main thread, so SIGTERM will end this process without a checkpoint.")
            return self
        self._earlier = signal.signal(signal.SIGTERM, self._notice)
        self._installed = True
        return self

    def __exit__(self, *error: object) -> None:
        if self._installed:
            # None: a handler that was not set from Python, which Python cannot set again.
            signal.signal(signal.SIGTERM, signal.SIG_DFL if self._earlier is None else self._earlier)
            self._installed = False

    def requested(self, step: int) -> bool:
        """Whether to save and stop now, `step` steps having been taken.

        In a multi-process run every process must call this after every step; it is true at the same step in all.
        """
        if jax.distributed.is_initialized():
            return multihost_utils.reached_preemption_sync_point(step)
        return self._signalled

    def _notice(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._signalled = True  # nothing else: a handler may interrupt code that holds the lock of a logger
