"""The train step's compilation: how hard the compiler tries, and whether it had been done before."""

from __future__ import annotations

import time
from typing import Any

import jax

_HIT = "/jax/compilation_cache/cache_hits"


def compiled(lowered: Any, effort: float | None) -> tuple[Any, str]:
    """Compile a lowered program; return it, and what to say of it.

    Args:
      lowered: of `jax.jit(...).lower(...)`.
      effort: of XLA for a program that runs fast, from -1 to 1; None: its default, 0. With -1 a TPU's compiler is done
        with a large model in minutes where it took an hour.
    """
    options = None if effort is None else {"exec_time_optimization_effort": effort}
    hits: list[str] = []

    def listen(event: str, **_: Any) -> None:
        if event == _HIT:
            hits.append(event)

    jax.monitoring.register_event_listener(listen)
    start = time.perf_counter()
    try:
        program = lowered.compile(compiler_options=options)
    finally:
        jax.monitoring.unregister_event_listener(listen)
    seconds = time.perf_counter() - start
    memory = program.memory_analysis()
    temporaries = f", {memory.temp_size_in_bytes / 2**20:,.1f} MiB of temporaries per device" if memory else ""
    done = f"It was compiled before: read in {seconds:.1f} s" if hits else f"Compiled in {seconds:.1f} s"
    return program, f"{done}{temporaries}."
