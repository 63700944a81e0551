"""Clocks: how long calls take, and how fast the devices multiply matrices."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from glowdiff.sharding import batch_sharding

_SIDES = {"cpu": 1024}  # of the matrices whose product is the peak; others are of accelerators' size
_ROUNDS = 10


def seconds_of(function: Callable[[], Any], rounds: int) -> list[float]:
    """Seconds of each of `rounds` calls, until their results are there."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        jax.block_until_ready(function())
        seconds.append(time.perf_counter() - start)
    return seconds


def milliseconds(seconds: list[float]) -> dict[str, float]:
    """Median and 90th percentile."""
    return {
        "ms_median": round(1e3 * float(np.median(seconds)), 4),
        "ms_p90": round(1e3 * float(np.quantile(seconds, 0.9)), 4),
    }


def matmul_peak(mesh: Mesh, dtype: str) -> float:
    """FLOP/s of square matrix products in `dtype`, one on each device at a time; the best of several rounds."""
    side = _SIDES.get(mesh.devices.flat[0].platform, 8192)
    shape = (mesh.size, side, side)
    # Random numbers: on constants a chip draws less power and is faster than on a network's. Scaled, so that the second
    # of two products in a row, with which starting a program weighs less, is as large as the first.

    def draw(key: jax.Array) -> jax.Array:
        return (jax.random.normal(key, shape) * side**-0.5).astype(dtype)

    operand = jax.jit(draw, out_shardings=batch_sharding(mesh))(jax.random.key(0))
    product = jax.jit(lambda x: jnp.matmul(jnp.matmul(x, x), x), out_shardings=batch_sharding(mesh))
    jax.block_until_ready(product(operand))
    best = min(seconds_of(lambda: product(operand), _ROUNDS))
    return 2 * 2 * mesh.size * side**3 / best


def copy_bandwidth(gigabytes: float = 4.0) -> float:
    """Bytes per second, read and written, of an elementwise pass over so much memory; the best of several rounds."""
    operand = jax.random.normal(jax.random.key(0), (round(gigabytes * 2**30 / 4),))
    negated = jax.jit(jnp.negative)
    jax.block_until_ready(negated(operand))
    return 2 * operand.nbytes / min(seconds_of(lambda: negated(operand), _ROUNDS))


def steady_seconds(call: Callable[[], Any], *, seconds: float = 2.0, blocks: int = 5) -> list[float]:
    """Seconds of a call in each of several blocks of calls, which wait for the last one's result only.

    So the device has its next call when it is done with one, as in training; the first two calls are not timed.

    Args:
      call: returns what to wait for.
      seconds: about as long as all blocks shall take; each holds one call at least.
      blocks: how many.
    """
    jax.block_until_ready(call())
    (one,) = seconds_of(call, 1)
    count = max(1, round(seconds / blocks / max(one, 1e-6)))

    def block() -> Any:
        for _ in range(count - 1):
            call()
        return call()

    return [taken / count for taken in seconds_of(block, blocks)]
