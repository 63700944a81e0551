"""Measurements in an order, within minutes: what a group needs is compiled side by side, then it is timed alone."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

_PATIENCE = 0.7  # of the time left, that a group but the last waits for its compilers
Job = Callable[[], Any]  # runs in a thread of its own: a compilation, or waiting for another process


@dataclass(frozen=True)
class Measurement:
    """Something to measure."""

    name: str
    prepare: Callable[[], Sequence[Job]]  # in the main thread: traces; what remains to be done are jobs
    measure: Callable[[list[Any]], dict[str, Any]]  # of the jobs' results; nothing else runs meanwhile
    group: int = 0  # groups follow each other; compilers of a group share the machine
    after: str = ""  # another of its group whose jobs end before these begin: kernels tried there are known here
    preparing: float = 60.0  # seconds that tracing and compiling may well take
    measuring: float = 10.0  # seconds for the rest


@dataclass
class _Background:
    """A job in a thread that nobody waits for at the end."""

    job: Job
    after: Sequence[_Background] = ()
    seconds: float = 0.0
    result: Any = None
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def start(self) -> _Background:
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def _run(self) -> None:
        for other in self.after:
            other.done.wait()
        start = time.perf_counter()
        try:
            self.result = self.job()
        except BaseException as error:
            self.error = error
        self.seconds = time.perf_counter() - start
        self.done.set()


class Plan:
    """Runs measurements and keeps what came of each, failures and omissions included."""

    def __init__(self, minutes: float, record: Callable[[str, dict[str, Any]], None]) -> None:
        """With so many minutes from now on; `record(name, row)` saves a row as soon as it is there."""
        self._start = time.perf_counter()
        self._end = self._start + 60 * minutes
        self._record = record

    @property
    def left(self) -> float:
        """Seconds."""
        return self._end - time.perf_counter()

    def run(self, measurements: Sequence[Measurement]) -> None:
        """All of them, group by group; what has not compiled in time is waited for with the next group."""
        groups = sorted({each.group for each in measurements})
        begun: dict[str, tuple[Measurement, list[_Background]]] = {}
        for group in groups:
            for each in measurements:
                if each.group == group:
                    self._prepare(each, begun)
            reserved = sum(each.measuring for each, _ in begun.values())
            share = 1.0 if group == groups[-1] else _PATIENCE
            self._wait([job for _, jobs in begun.values() for job in jobs], share * (self.left - reserved))
            # Nothing is timed while others compile, if that can be: compilers try kernels on the device.
            for name, (each, jobs) in list(begun.items()):
                if all(job.done.is_set() for job in jobs):
                    del begun[name]
                    self._measure(each, jobs, [job for _, others in begun.values() for job in others])
        for each, _ in begun.values():
            self._give_up(each, f"not compiled within {time.perf_counter() - self._start:.0f} s of the start")

    def _prepare(self, each: Measurement, begun: dict[str, tuple[Measurement, list[_Background]]]) -> None:
        needed = each.preparing + each.measuring
        if self.left < needed:
            self._give_up(each, f"{self.left:.0f} s were left, and it takes about {needed:.0f}")
            return
        self._say(f"{each.name}: preparing")
        try:
            jobs = [_Background(job, begun[each.after][1] if each.after in begun else ()) for job in each.prepare()]
        except Exception as error:
            self._fail(each, error)
            return
        begun[each.name] = (each, [job.start() for job in jobs])

    def _wait(self, jobs: Sequence[_Background], seconds: float) -> None:
        end = time.perf_counter() + seconds
        for job in jobs:
            job.done.wait(max(0.0, end - time.perf_counter()))

    def _measure(self, each: Measurement, jobs: Sequence[_Background], others: Sequence[_Background]) -> None:
        if self.left < 0:
            self._give_up(each, "no time was left")
            return
        self._say(f"{each.name}: measuring")
        try:
            for job in jobs:
                if job.error is not None:
                    raise job.error
            row = each.measure([job.result for job in jobs])
        except Exception as error:
            self._fail(each, error)
            return
        compiled = {"compile_seconds": round(max(job.seconds for job in jobs), 1)} if jobs else {}
        disturbed = sum(not job.done.is_set() for job in others)
        noted = {"beside_compilers": disturbed} if disturbed else {}
        self._record(each.name, compiled | row | noted)
        self._say(f"{each.name}: {row}"[:300])

    def _fail(self, each: Measurement, error: BaseException) -> None:
        traceback.print_exception(error)
        words = str(error).strip().splitlines()
        self._record(each.name, {"error": f"{type(error).__name__}: {words[0] if words else ''}"[:300]})

    def _give_up(self, each: Measurement, reason: str) -> None:
        self._say(f"{each.name}: {reason}")
        self._record(each.name, {"skipped": reason})

    def _say(self, line: str) -> None:
        print(f"{time.perf_counter() - self._start:6.1f} s  {line}", file=sys.stderr, flush=True)
