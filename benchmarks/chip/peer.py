"""ADM-64's train step with diffusers under `torch.compile`, in a process of its own.

As a program it prints a line when it has compiled, waits for a line, and prints what it measured as JSON: so PyTorch
and XLA compile side by side and are timed one after the other.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.chip.plan import Job
from benchmarks.chip.setting import Setting
from benchmarks.chip.settings import PUBLISHED, configuration
from glowdiff.config.sections import Config

READY = "compiled"
_ROOT = Path(__file__).resolve().parents[2]
# What diffusers does not train: the learned variance; and its blocks drop nothing out.
COMPARED: dict[str, Any] = {
    "process__variance": "fixed_large", "loss": "simple", "network__dropout": 0.0, "network__remat": False,
}  # fmt: skip


def compared(batch: int, *, toy: bool) -> Config:
    """ADM-64 as both libraries train it."""
    return configuration(PUBLISHED["adm/imagenet64"], toy=toy, batch=batch, **COMPARED)


class Peer:
    """The other process."""

    def __init__(self, batch: int, flops: Any, setting: Setting) -> None:
        """`flops()` are those of a step, counted on ours."""
        self._batch, self._flops, self._setting = batch, flops, setting
        self._process: Any = None

    def prepare(self) -> Sequence[Job]:
        """Start it; it remains to wait until it has compiled.

        Raises:
          ModuleNotFoundError: PyTorch or diffusers is not installed.
        """
        for package in ("torch", "diffusers"):
            if importlib.util.find_spec(package) is None:
                raise ModuleNotFoundError(f"No module named {package!r}")
        command = [
            sys.executable,
            "-m",
            "benchmarks.chip.peer",
            str(self._batch),
            *(["--toy"] if self._setting.toy else []),
        ]
        # XLA would take memory of the GPU for the few shapes it is asked for there.
        environment = os.environ | {"JAX_PLATFORMS": "cpu"}
        self._process = subprocess.Popen(
            command, cwd=_ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._setting.processes.append(self._process)
        return [self._compiled]

    def measure(self, ready: list[Any]) -> dict[str, Any]:
        """Let it run, and read what it says."""
        del ready
        out, _ = self._process.communicate("go\n", timeout=120)
        lines = out.strip().splitlines()
        if self._process.returncode or not lines:
            raise RuntimeError(f"the process ended with status {self._process.returncode}")
        row = json.loads(lines[-1])
        return row | self._setting.utilisation(self._flops(), row["ms"] / 1e3)

    def _compiled(self) -> None:
        for line in self._process.stdout:
            if line.strip() == READY:
                return
        raise RuntimeError(f"the process ended with status {self._process.wait()} before it had compiled")


def main(batch: int, *, toy: bool) -> None:
    """Compile, wait, time."""
    import numpy as np
    import torch  # pyright: ignore[reportMissingImports]

    from benchmarks.peers.diffusers_unet import build, diffusers_peer
    from benchmarks.synthetic import known_spec
    from glowdiff.diffusion.build import denoising_module
    from glowdiff.sharding import Platform

    config = compared(batch, toy=toy)
    spec, batch = known_spec(config.data), config.train.batch
    net = denoising_module(config.model, spec, config.dtype, platform=Platform("cpu"))
    assert net.head_channels is not None
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(batch, *spec.shape), dtype=np.uint8)
    labels = rng.integers(len(spec.classes), size=batch)
    train, start = config.train, time.perf_counter()
    peer = diffusers_peer(
        build(net, net.head_channels, spec.shape[-1]),
        images,
        labels,
        dtype=config.dtype,
        learning_rate=config.optimizer.learning_rate,
        decay=train.ema_decay,
        channels_last=True,
        compiled=not toy,  # at toy size nothing is compared, and compiling takes longer than all the rest
    )
    peer.train(2)
    compile_seconds = time.perf_counter() - start
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.empty_cache()  # the others are compiling
    print(READY, flush=True)
    sys.stdin.readline()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    peer.train(1)
    seconds = []
    for _ in range(1 if toy else 5):
        start, steps = time.perf_counter(), 1 if toy else 6
        peer.train(steps)
        seconds.append((time.perf_counter() - start) / steps)
    taken = statistics.median(seconds)
    row = {
        "batch": batch,
        "ms": round(1e3 * taken, 4),
        "ms_of_blocks": [round(1e3 * each, 4) for each in seconds],
        "images_per_second": round(batch / taken, 2),
        "device_peak_bytes": torch.cuda.max_memory_allocated() if cuda else None,
        "compile_seconds": round(compile_seconds, 1),
        "torch": torch.__version__,
    }
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), toy="--toy" in sys.argv)
