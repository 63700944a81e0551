"""The train step's compilation: how hard the compiler tries, and whether it had been done before."""

from __future__ import annotations

import time
from typing import Any

import jax

_HIT = "/jax/compilation_cache/cache_hits"
# XLA's levels of effort for programs that run fast, by the names that compilers give to such levels.
EFFORTS = {"O0": 9, "O1": 19, "O2": 29, "O3": 39}


def options_of(effort: str | None) -> dict[str, Any]:
    """Options of a compilation with one of `EFFORTS`; None: XLA's default, O2."""
    return {} if effort is None else {"optimization_level": EFFORTS[effort]}


def compiled(lowered: Any, effort: str | None) -> tuple[Any, str]:
    """Compile a lowered program; return it, and what to say of it.

    Args:
      lowered: of `jax.jit(...).lower(...)`.
      effort: one of `EFFORTS`; None: XLA's default. With O0 a TPU's compiler is done with ADM in minutes; with the
        default it had not ended after half an hour.
    """
    hits: list[str] = []

    def listen(event: str, **_: Any) -> None:
        if event == _HIT:
            hits.append(event)

    jax.monitoring.register_event_listener(listen)
    start = time.perf_counter()
    try:
        program = lowered.compile(compiler_options=options_of(effort))
    finally:
        jax.monitoring.unregister_event_listener(listen)
    seconds = time.perf_counter() - start
    memory = program.memory_analysis()
    temporaries = f", {memory.temp_size_in_bytes / 2**20:,.1f} MiB of temporaries per device" if memory else ""
    done = f"It was compiled before: read in {seconds:.1f} s" if hits else f"Compiled in {seconds:.1f} s"
    return program, f"{done}{temporaries}."
