"""The bare 3x3 convolutions of a network, in XLA and in PyTorch: what neither can be faster than."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch  # pyright: ignore[reportMissingImports]

Shape = tuple[int, int, int, int, int]  # height, width, channels in and out, stride


def compare(shapes: Sequence[Shape], batch: int, dtype: str, *, channels_last: bool, rounds: int) -> dict[str, Any]:
    """Milliseconds of all convolutions together, in turns: forward, and forward with both gradients.

    Returns:
      `{"forward": (ours, PyTorch's), "with both gradients": (ours, PyTorch's)}`.
    """
    totals = {"forward": [0.0, 0.0], "with both gradients": [0.0, 0.0]}
    for shape, count in Counter(shapes).items():
        calls = {
            name: (ours, theirs)
            for name, ours, theirs in zip(
                totals, _xla(shape, batch, dtype), _torch(shape, batch, dtype, channels_last), strict=True
            )
        }
        for name, pair in calls.items():
            for i, seconds in enumerate(_medians(pair, rounds)):
                totals[name][i] += 1e3 * count * seconds
    return {name: tuple(total) for name, total in totals.items()}


def _medians(pair: tuple[Callable[[int], None], Callable[[int], None]], rounds: int) -> list[float]:
    for call in pair:
        call(2)
    start = time.perf_counter()
    pair[1](1)
    block = max(1, round(0.02 / (time.perf_counter() - start)))  # so that starting a clock weighs nothing
    seconds: list[list[float]] = [[], []]
    for _ in range(rounds):
        for call, kept in zip(pair, seconds, strict=True):
            start = time.perf_counter()
            call(block)
            kept.append((time.perf_counter() - start) / block)
    return [statistics.median(kept) for kept in seconds]


def _xla(shape: Shape, batch: int, dtype: str) -> tuple[Callable[[int], None], Callable[[int], None]]:
    height, width, channels, features, stride = shape
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((batch, height, width, channels)), dtype)
    kernel = jnp.asarray(rng.standard_normal((3, 3, channels, features)), dtype)

    def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (stride, stride), ((1, 1), (1, 1)), dimension_numbers=numbers)

    def gradients(x: jax.Array, kernel: jax.Array, cotangent: jax.Array) -> Any:
        out, pull = jax.vjp(convolve, x, kernel)
        return out, pull(cotangent)

    forward, both = jax.jit(convolve), jax.jit(gradients)
    cotangent = forward(x, kernel)

    def run(function: Any, *args: jax.Array) -> Callable[[int], None]:
        def call(times: int) -> None:
            jax.block_until_ready([function(*args) for _ in range(times)][-1])

        return call

    return run(forward, x, kernel), run(both, x, kernel, cotangent)


def _torch(
    shape: Shape, batch: int, dtype: str, channels_last: bool
) -> tuple[Callable[[int], None], Callable[[int], None]]:
    height, width, channels, features, stride = shape
    device = "cuda" if torch.cuda.is_available() else "cpu"
    layout = torch.channels_last if channels_last else torch.contiguous_format
    kind = {"dtype": getattr(torch, dtype), "device": device}
    x = torch.randn(batch, channels, height, width, **kind).to(memory_format=layout).requires_grad_()
    kernel = torch.randn(features, channels, 3, 3, **kind).to(memory_format=layout).requires_grad_()

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    def forward(times: int) -> None:
        with torch.no_grad():
            for _ in range(times):
                torch.nn.functional.conv2d(x, kernel, None, stride, 1)
        wait()

    with torch.no_grad():
        cotangent = torch.nn.functional.conv2d(x, kernel, None, stride, 1)

    def gradients(times: int) -> None:
        for _ in range(times):
            out = torch.nn.functional.conv2d(x, kernel, None, stride, 1)
            torch.autograd.grad(out, (x, kernel), cotangent)
        wait()

    return forward, gradients
