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
    operand = jax.jit(lambda: jnp.full(shape, 1 / side, dtype), out_shardings=batch_sharding(mesh))()
    # Two products in a row, so that starting a program weighs less; each is the mean of constants, and stays finite.
    product = jax.jit(lambda x: jnp.matmul(jnp.matmul(x, x), x), out_shardings=batch_sharding(mesh))
    jax.block_until_ready(product(operand))
    best = min(seconds_of(lambda: product(operand), _ROUNDS))
    return 2 * 2 * mesh.size * side**3 / best
