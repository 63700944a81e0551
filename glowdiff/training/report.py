"""What a person sees of a run: a table before, a bar or lines while it goes, pictures and curves beside it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any

import jax
from etils import epath
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from tensorboardX import SummaryWriter

from glowdiff.files import is_address
from glowdiff.inference.drawer import Samples
from glowdiff.inference.finite import not_finite
from glowdiff.metrics.measurement import Figure
from glowdiff.metrics.scores import describe
from glowdiff.pictures.files import grid, write_png
from glowdiff.spec import DataSpec
from glowdiff.training.experiment import Experiment, bytes_per_device, parameter_count
from glowdiff.training.state import TrainState
from glowdiff.workdir.metrics_log import MetricsLog

console = Console(highlight=False, soft_wrap=True)


def print_table(experiment: Experiment, state: TrainState) -> None:
    """Model, parameters, devices, bytes and data, before training."""
    if jax.process_index():
        return
    config, spec, mesh = experiment.config, experiment.dataset.spec, experiment.mesh
    table = Table(show_header=False)
    size = " x ".join(map(str, spec.shape))
    labels = f", {len(spec.classes)} classes" if spec.classes else ""
    device = mesh.devices.flat[0]
    rows = {
        "method": f"{config.method} ({config.dtype})",
        "parameters": f"{parameter_count(state):,}",
        "data": f"{spec.name}: {size}, {spec.levels} levels{labels}",
        "images": f"{spec.train_size:,} to train on, {spec.test_size:,} to test on",
        "devices": f"{mesh.size} x {device.device_kind}, {jax.process_count()} process(es)",
        "mesh": f"data {mesh.shape['data']} x fsdp {mesh.shape['fsdp']}",
        "state per device": f"{bytes_per_device(state) / 2**20:,.1f} MiB (parameters, average, moments)",
        "batch": f"{config.train.batch} images, {config.train.batch // mesh.size} per device",
        "steps": f"{config.train.steps:,}",
    }
    for key, value in rows.items():
        table.add_row(key, value)
    console.print(table)


class Reporter:
    """Progress on the terminal, `metrics.jsonl`, TensorBoard and sample pictures; silent but in process 0."""

    def __init__(self, workdir: epath.PathLike, start: int, steps: int, batch: int) -> None:
        self._workdir, self._batch, self._steps = epath.Path(workdir), batch, steps
        self._active = jax.process_index() == 0
        self._last = (start, time.perf_counter())
        self._bar: Progress | None = None
        if not self._active:
            return
        self._log = MetricsLog(workdir, start)
        if self._log.dropped and not start:
            self.say(f"No checkpoint was saved before: step 1 again. {self._log.dropped} lines of the log are dropped.")
        # tensorboardX writes remote folders only with extra libraries: there, metrics.jsonl must do.
        local = not is_address(workdir)
        self._events = SummaryWriter(str(self._workdir / "events"), purge_step=start + 1) if local else None
        if console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(bar_width=12), MofNCompleteColumn())
            self._bar = Progress(*columns, TimeRemainingColumn(), console=console)  # fits into 80 characters
            self._task = self._bar.add_task("training", total=steps, completed=start)
            self._bar.start()

    def say(self, message: str) -> None:
        """One line for the person watching."""
        if self._active:
            _print(message)

    def advance(self, step: int) -> None:
        """Move the bar."""
        if self._bar:
            self._bar.update(self._task, completed=step)

    def scalars(self, step: int, metrics: dict[str, float], waited: float) -> None:
        """Record a step's metrics; `waited` is the share of time spent waiting for data since the last record."""
        if not self._active:
            return
        before, then = self._last
        now = time.perf_counter()
        self._last = (step, now)
        seconds = max(now - then, 1e-9)
        rate = (step - before) * self._batch / seconds
        timing = {"images_per_second": rate, "data_wait": waited / seconds, "time": time.time()}
        self._log.write(step, metrics | timing)
        if self._events:
            for name, value in (metrics | timing).items():
                self._events.add_scalar(name, value, step)
        main = "bits_per_dim" if "bits_per_dim" in metrics else "loss"
        names = (main, *(name for name in metrics if name.startswith("test_")))
        shown = [f"{_LABELS.get(name, describe(name))} {metrics[name]:.3f}" for name in names]
        text = f"{'  '.join(shown)}  {rate:,.0f} images/s"
        if self._bar:
            self._bar.update(self._task, description=text)
        else:
            left = (self._steps - step) * seconds / max(step - before, 1)
            _print(f"step {step}/{self._steps}  {text}  {_duration(left)} left")

    def picture(self, step: int, drawn: Samples, spec: DataSpec) -> None:
        """Write a grid of samples of a model of `spec` to samples/STEP.png and TensorBoard; warn of what are none."""
        if not self._active:
            return
        if fault := not_finite(drawn.finite):
            self.say(f"Warning: after step {step}, {fault}; they are black or white in the picture. Training goes on.")
        picture = grid(drawn.images, spec.levels)
        write_png(self._workdir / "samples" / f"{step}.png", picture, attribution=spec.attribution)
        if self._events:
            self._events.add_image("samples", picture, step, dataformats="HWC")
            if spec.attribution:
                self._events.add_text("samples/attribution", spec.attribution, step)

    def figures(self, step: int, found: Sequence[Figure], lost: int) -> None:
        """Say what samples measure, or that `lost` of them are none."""
        if lost:
            self.say(f"Warning: after step {step}, {lost:,} samples are not finite, so nothing is measured of them.")
        for convention in dict.fromkeys(figure.name.removeprefix(f"{figure.short}_") for figure in found):
            own = (each for each in found if each.name == f"{each.short}_{convention}")
            figures = "  ".join(f"{each.short} {each.value:.5g}" for each in own)
            self.say(f"step {step}  {figures}  ({convention})")

    def close(self) -> None:
        """Flush everything."""
        if self._bar:
            self._bar.stop()
        if self._active and self._events:
            with contextlib.suppress(OSError):  # a full disk; what ended the run says so
                self._events.close()


def _print(line: str) -> None:
    with contextlib.suppress(OSError):  # a terminal that was closed, or a pipe: no reason to lose a run
        console.print(line)


_LABELS = {"bits_per_dim": "bits/dim", "test_bits_per_dim": "test", "test_loss": "test"}


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def as_floats(metrics: Any) -> dict[str, float]:
    """Scalars of the devices as Python numbers."""
    return {name: float(value) for name, value in jax.device_get(metrics).items()}
