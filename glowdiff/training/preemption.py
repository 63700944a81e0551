"""Stopping at a step's boundary: when the scheduler takes the machine away, at Ctrl-C, when the terminal is closed."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

import jax
from absl import logging
from jax.experimental import multihost_utils

_NAMES = {"SIGTERM": "SIGTERM", "SIGINT": "Ctrl-C", "SIGHUP": "a closed terminal (SIGHUP)"}
_STATUS = 130  # of shells, after Ctrl-C


class Preemption:
    """Notices SIGTERM, SIGHUP and Ctrl-C while it is entered, and says at which step to save and stop.

    Enter it before anything compiles (but after `jax.distributed.initialize`, if that is called): a signal that comes
    while XLA compiles, or during evaluation or sampling, is remembered and reported at the next `requested`. Ctrl-C
    is `KeyboardInterrupt` until `begin` is called, for until then there is nothing to save; a second one ends the
    process at once. A plain process sets a flag from a handler of its own. After `jax.distributed.initialize` JAX has
    a handler of SIGTERM, which agrees with the other processes on a step that none has passed yet; then the signal is
    left to it, and the others are handed to it.

        with Preemption() as preemption:
            ...
            preemption.begin()
            for step in range(start, steps):
                ...
                if preemption.requested(step + 1):
                    checkpoints.save(step + 1, ...)
                    break

    Attributes:
      cause: the signal that came first, in words; empty if none did.
    """

    def __init__(self) -> None:
        self.cause = ""
        self._begun = self._interrupted = False
        self._earlier: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Preemption:
        self.cause, self._begun, self._interrupted = "", False, False
        if threading.current_thread() is not threading.main_thread():
            if not jax.distributed.is_initialized():
                logging.warning("Not in the main thread, so SIGTERM will end this process without a checkpoint.")
            return self
        for name in _NAMES:
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is None or (name == "SIGTERM" and jax.distributed.is_initialized()):
                continue
            # `nohup` asks for SIGHUP to be ignored. That a shell ignores SIGINT in the background asks for nothing.
            if name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN:
                continue
            handler = self._interrupt if name == "SIGINT" else self._notice
            self._earlier[number] = signal.signal(number, handler)
        return self

    def __exit__(self, *error: object) -> None:
        for number, earlier in self._earlier.items():
            # None: a handler that was not set from Python, which Python cannot set again.
            signal.signal(number, signal.SIG_DFL if earlier is None else earlier)
        self._earlier.clear()

    def begin(self) -> None:
        """From now on there is something to save, and Ctrl-C waits for the end of a step."""
        self._begun = True

    def requested(self, step: int) -> bool:
        """Whether to save and stop now, `step` steps having been taken.

        In a multi-process run every process must call this after every step; it is true at the same step in all.
        """
        if jax.distributed.is_initialized():
            return multihost_utils.reached_preemption_sync_point(step)
        return bool(self.cause)

    # Nothing but flags in these two: a handler may interrupt code that holds the lock of a logger.

    def _notice(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.cause = self.cause or _NAMES[signal.Signals(number).name]
        if jax.distributed.is_initialized():
            os.kill(os.getpid(), signal.SIGTERM)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._interrupted:
            os.write(2, b"\nerror: interrupted twice; ended without a save. Earlier checkpoints are intact.\n")
            os._exit(_STATUS)
        self._interrupted = True
        self._notice(number, frame)
        if not self._begun:
            # Where a callback of JAX swallows it, the first step is the last one.
            raise KeyboardInterrupt
        if sys.stderr.isatty():
            os.write(2, b"\nSaving after this step; Ctrl-C again ends at once.\n")
