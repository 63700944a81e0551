"""Where a train step's time goes: a trace of a few steps, its kernels added up."""

from __future__ import annotations

import collections
import gzip
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from benchmarks.chip.plan import Job
from benchmarks.chip.setting import Setting
from benchmarks.chip.training import TrainStep

HEAVIEST = 15
# What a kernel does, by its name; the first that fits. Names are those of cuDNN, cuBLAS, Triton and XLA.
_KINDS = (
    ("attention", r"fmha|flash|sdpa|mha_|dot_do_o|convert_dq"),
    ("copies and transposes", r"nchwtonhwc|nhwctonchw|addpadding|memcpy|memset|^copy|^wrapped_(copy|transpose)"),
    ("copies and transposes", r"transpose_fusion$"),
    ("convolutions", r"conv(?!ert)|fprop|dgrad|wgrad|implicit"),
    ("matrix products", r"gemm|nvjet|cutlass|xmma|dot(?!_product)|matmul|cublas|splitk"),
    ("random numbers", r"rng|threefry"),
    ("reductions", r"reduc|norm|softmax"),
    ("copies and transposes", r"transpose|copy"),
)
# Parts of a train step, by the path of an instruction.
_PARTS = (
    ("dropout", r"Dropout"),
    ("norms and SiLU", r"norm|silu"),
    ("concatenated skips", r"/concatenate"),
    ("beside convolutions", r"conv"),
    ("beside attention", r"attention"),
)
MATRIX = ("attention", "convolutions", "matrix products")


class Kernel(NamedTuple):
    """One run of one kernel."""

    name: str
    instruction: str  # of the compiled program, where the trace says which; else empty
    seconds: float
    start: float


class Profile:
    """A trace of a train step that another measurement has compiled."""

    def __init__(self, of: Mapping[str, TrainStep], setting: Setting, keep: Path | None) -> None:
        """Of the first of these, by measurement, that has run; `keep` is a folder for its program and the trace."""
        self._of, self._setting, self._keep = of, setting, keep
        self._steps = 1 if setting.toy else 5

    def prepare(self) -> Sequence[Job]:
        """There is nothing to compile."""
        return []

    def measure(self, compiled: list[Any]) -> dict[str, Any]:
        """The heaviest kernels, the shares of kinds of work, and how long the device did nothing."""
        del compiled
        name = next((name for name in self._of if name in self._setting.compiled), None)
        if name is None:
            raise RuntimeError("none of the train steps ran")
        program = self._setting.compiled[name]
        stepper = self._of[name].start(program)
        jax.block_until_ready([stepper.step() for _ in range(2)])
        with tempfile.TemporaryDirectory() as folder:
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0  # its events would hold up small kernels, and are not looked at
            with jax.profiler.trace(folder, profiler_options=options):
                jax.block_until_ready([stepper.step() for _ in range(self._steps)][-1])
            files = sorted(Path(folder).rglob("*.xplane.pb"))
            kernels = list(read(files))
            text = program.as_text() or ""
            if self._keep is not None:
                self._keep.mkdir(parents=True, exist_ok=True)
                for file, content in (("hlo.txt", text.encode()), ("xplane.pb", files[-1].read_bytes())):
                    (self._keep / f"{name}.{file}.gz").write_bytes(gzip.compress(content))
        return {"of": name} | summary(kernels, self._steps, origins(text))


def read(files: Iterable[Path]) -> Iterable[Kernel]:
    """The kernels of a trace: all that ran on GPUs; where there is none, what a CPU's threads ran of the program."""
    planes = [plane for file in files for plane in jax.profiler.ProfileData.from_file(str(file)).planes]
    devices = [plane for plane in planes if plane.name.startswith("/device:GPU")]
    for plane in devices or planes:
        for line in plane.lines:
            if devices and not line.name.startswith("Stream"):
                continue
            for event in line.events:
                instruction = dict(event.stats).get("hlo_op")
                if devices or instruction:
                    yield Kernel(event.name, str(instruction or ""), event.duration_ns / 1e9, event.start_ns / 1e9)


def origins(text: str) -> dict[str, list[str]]:
    """Where in the model an instruction of a compiled program comes from: its own path, and those that it fuses."""
    inside: dict[str, list[str]] = collections.defaultdict(list)
    found: dict[str, tuple[list[str], str]] = {}
    computation = ""
    for line in text.splitlines():
        if opened := re.match(r"(?:ENTRY )?%?([\w.-]+) \(.*\{$", line):
            computation = opened[1]
        elif named := re.match(r"\s+(?:ROOT )?%?([\w.-]+) = ", line):
            path = [re.sub(r"^jit\(\w+\)/", "", each) for each in re.findall(r'op_name="([^"]*)"', line)[:1]]
            inside[computation] += path
            calls = re.search(r"calls=%?([\w.-]+)", line)
            found[named[1]] = path, calls[1] if calls else ""
    return {name: path + inside.get(calls, []) for name, (path, calls) in found.items()}


def part(paths: Sequence[str]) -> str:
    """Which part of a train step instructions of such paths belong to: what most of them name."""
    if not paths:
        return "of no named part"
    if not all("jvp" in path for path in paths):  # the loss is differentiated, what follows is not
        return "optimiser, averages, layouts of gradients"
    labels = collections.Counter(
        next((label for label, pattern in _PARTS if re.search(pattern, path)), "") for path in paths
    )
    del labels[""]
    return labels.most_common(1)[0][0] if labels else "the rest of the network"


def kind(name: str) -> str:
    """What sort of work a kernel of that name does."""
    lower = re.sub(r"[._]?\d+$", "", name.lower())
    return next((label for label, pattern in _KINDS if re.search(pattern, lower)), "elementwise")


def summary(kernels: Sequence[Kernel], steps: int, where: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The figures of a trace of so many steps, in milliseconds of one step.

    Raises:
      ValueError: there is no kernel in it.
    """
    if not kernels:
        raise ValueError("the trace holds no kernels")
    total = sum(kernel.seconds for kernel in kernels)
    span = max(each.start + each.seconds for each in kernels) - min(each.start for each in kernels)
    kinds: dict[str, float] = collections.defaultdict(float)
    parts: dict[str, float] = collections.defaultdict(float)
    groups: dict[tuple[str, str], list[Kernel]] = collections.defaultdict(list)
    for kernel in kernels:
        label = kind(kernel.name)
        kinds[label] += kernel.seconds
        if label not in MATRIX:
            parts[part(_paths(kernel, where))] += kernel.seconds
        groups[label, kernel.name[:80]].append(kernel)
    heaviest = sorted(groups.items(), key=lambda item: -sum(each.seconds for each in item[1]))[:HEAVIEST]
    rows = []
    for (label, name), runs in heaviest:
        seconds = sum(each.seconds for each in runs)
        sources = collections.Counter(next(iter(_paths(each, where)), "") for each in runs)
        rows.append({
            "kernel": name,
            "kind": label,
            "runs": round(len(runs) / steps, 1),
            "ms": round(1e3 * seconds / steps, 4),
            "share": round(seconds / total, 4),
            "from": sources.most_common(1)[0][0][-100:],
        })  # fmt: skip
    return {
        "steps": steps,
        "kernels_ms": round(1e3 * total / steps, 4),
        "span_ms": round(1e3 * span / steps, 4),
        "runs": round(len(kernels) / steps, 1),
        "matrix_share": round(sum(kinds[label] for label in MATRIX) / total, 4),
        "kinds": _shares(kinds, total),
        "parts": _shares(parts, total),  # of what is no matrix work
        "heaviest": rows,
    }


def _paths(kernel: Kernel, where: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """Paths of a kernel's instruction, which in a CUDA graph is named after the graph; the kernel's name says it."""
    return where.get(re.sub(r"_(\d+)$", r".\1", kernel.name)) or where.get(kernel.instruction, ())


def _shares(seconds: Mapping[str, float], total: float) -> dict[str, float]:
    return {label: round(each / total, 4) for label, each in sorted(seconds.items(), key=lambda item: -item[1])}
