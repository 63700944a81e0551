"""Two implementations of one network, held to be the same function and then timed in turns."""

from __future__ import annotations

import importlib.util
import itertools
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glowdiff.errors import ConfigError

WORK = {"train": "training step", "denoise": "one denoising step", "sample": "50 steps of DDIM"}


def require_peers() -> None:
    """Raise `ConfigError` where PyTorch or diffusers is missing."""
    for package in ("torch", "diffusers"):
        if importlib.util.find_spec(package) is None:
            raise ConfigError(f"{package} is not installed: pip install 'glowdiff[bench]'.")


def settle(ours: Any, threads: int | None = None) -> tuple[int, bool]:
    """The threads (unless they are given) and the layout with which PyTorch is fastest; its threads are set so."""
    import torch  # pyright: ignore[reportMissingImports]

    if torch.cuda.is_available():
        return torch.get_num_threads(), True
    counts = [threads] if threads else sorted({1, len(os.sched_getaffinity(0))})
    models = {layout: ours.peer("float32", channels_last=layout, compiled=False) for layout in (False, True)}
    seconds: dict[tuple[int, bool], list[float]] = {}
    for _, count, layout in itertools.product(range(5), counts, models):
        torch.set_num_threads(count)
        took = _seconds(models[layout].train, 1) + _seconds(models[layout].denoise, 2)
        seconds.setdefault((count, layout), []).append(took)
    # The mean: on a busy machine threads that wait for each other are slow now and then, and then very slow.
    threads, layout = min(seconds, key=lambda choice: statistics.mean(seconds[choice][1:]))
    torch.set_num_threads(threads)
    return threads, layout


def agree(ours: Any, peer: Any) -> list[dict[str, Any]]:
    """Rows that say how far they are apart.

    Raises:
      RuntimeError: they are not the same function.
    """
    import torch  # pyright: ignore[reportMissingImports]

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    x, t = ours.noise(), jnp.linspace(0, 999, len(ours.noise())).round()
    with jax.default_matmul_precision("highest"):
        mine = np.asarray(ours.output(x, t)), np.asarray(ours.samples_from(x))
        step_t, noise, loss, norm = ours.loss_and_norm()
    theirs = peer.output(np.asarray(x), np.asarray(t)), peer.samples_from(np.asarray(x))
    peer_loss, peer_norm = peer.loss_and_norm(np.asarray(step_t), np.asarray(noise))
    found = [
        ("network's output, largest difference", np.abs(mine[0] - theirs[0]).max(), 1e-4, np.std(mine[0])),
        ("50 steps of DDIM, largest difference", np.abs(mine[1] - theirs[1]).max(), 1e-3, np.std(mine[1])),
        ("training step's loss, relative", abs(loss - peer_loss) / peer_loss, 1e-4, loss),
        ("norm of its gradient, relative", abs(norm - peer_norm) / peer_norm, 1e-3, norm),
    ]
    for name, difference, bound, _ in found:
        if not difference < bound:
            raise RuntimeError(f"{name}: {difference:.3g} is above {bound:g}, so these are not the same function.")
    return [
        {"": name, "difference": f"{difference:.1e}", "bound": f"{bound:g}", "value (deviation)": f"{size:.4g}"}
        for name, difference, bound, size in found
    ]


def compiled_peer(ours: Any, dtype: str, channels_last: bool) -> dict[str, Any]:
    """The peer under `torch.compile`; nothing, and a line that says why, where that does not work."""
    try:
        peer = ours.peer(dtype, channels_last=channels_last, compiled=True)
        start = time.perf_counter()
        for work in WORK:
            getattr(peer, work)(1)
    except Exception as error:  # whatever the compiler behind it may raise
        print(f"torch.compile does not work here: {str(error).strip().splitlines()[0]}")
        return {}
    print(f"torch.compile took {time.perf_counter() - start:.0f} s.")
    return {"compiled": peer}


def race(contestants: dict[str, Any], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of each piece of work in every turn, by work and contestant."""
    times: dict[str, dict[str, list[float]]] = {}
    for work in WORK:
        calls = {name: getattr(contestant, work) for name, contestant in contestants.items()}
        for call in calls.values():
            call(1)
        slowest = max(_seconds(call, 1) for call in calls.values())
        block = 1 if work == "sample" else max(1, min(20, round(1.0 / slowest)))
        times[work] = {name: [] for name in contestants}
        for _ in range(max(3, rounds // 3) if work == "sample" else rounds):
            for name, call in calls.items():
                times[work][name].append(_seconds(call, block))
    return times


def rows(times: dict[str, dict[str, list[float]]], bare: dict[str, Any]) -> list[dict[str, Any]]:
    """The table: ours, the peers, and ours over each."""
    peers = [name for name in times["train"] if name != "ours"]
    table = []
    for work, seconds in times.items():
        row = {"": WORK[work], "ours": f"{1e3 * statistics.median(seconds['ours']):,.1f}"}
        for peer in peers:
            row[f"PyTorch {peer}"] = f"{1e3 * statistics.median(seconds[peer]):,.1f}"
        for peer in peers:
            ratio = statistics.median(a / b for a, b in zip(seconds["ours"], seconds[peer], strict=True))
            row[f"ratio to {peer}"] = f"{ratio:.2f}"
        table.append(row)
    for name, (mine, theirs) in bare.items():
        row = {"": f"its bare 3x3 convolutions, {name}", "ours": f"{mine:,.1f}", "PyTorch eager": f"{theirs:,.1f}"}
        row |= {f"PyTorch {peer}": "" for peer in peers[1:]} | {"ratio to eager": f"{mine / theirs:.2f}"}
        table.append(row | {f"ratio to {peer}": "" for peer in peers[1:]})
    return table


def _seconds(call: Callable[[int], None], count: int) -> float:
    start = time.perf_counter()
    call(count)
    return (time.perf_counter() - start) / count
