"""Train steps: how fast, how near the device's peak, how much memory."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import jax

from benchmarks.chip.plan import Job
from benchmarks.chip.setting import Setting
from benchmarks.programs import Program, make_experiment, model_flops, program_bytes, train_program
from benchmarks.random_weights import random_batch, random_state
from benchmarks.synthetic import known_spec, nothing_in
from benchmarks.timing import steady_seconds
from glowdiff.config.sections import Config
from glowdiff.sharding import put_batch
from glowdiff.training.experiment import Experiment, parameter_count


class TrainStep:
    """The package's own train step of a configuration, on one batch of random images that is on the device already."""

    def __init__(self, name: str, config: Config, setting: Setting) -> None:
        """Nothing is traced yet; once it has run, the compiled program is kept in `setting` under `name`."""
        self._name, self._config, self._setting = name, config, setting
        self._experiment: Experiment | None = None
        self._program: Program | None = None
        self.flops = 0  # of a step, once it is prepared

    def prepare(self) -> Sequence[Job]:
        """Trace the step and count it; compiling is left to do."""
        spec = known_spec(self._config.data)
        self._experiment = make_experiment(self._config, nothing_in(spec), self._setting.mesh)
        self._program = train_program(self._experiment)
        lowered = self._program.lower()
        self.flops = model_flops(self._program, self._experiment)
        return [lowered.compile]

    def measure(self, compiled: list[Any]) -> dict[str, Any]:
        """Milliseconds, images and FLOPs per second, bytes."""
        stepper = self.start(compiled[0])
        blocks = steady_seconds(stepper.step, seconds=self._setting.seconds)
        seconds, metrics = statistics.median(blocks), stepper.metrics
        self._setting.compiled[self._name] = compiled[0]
        assert self._program is not None
        total, temporary = program_bytes(compiled[0])
        return {
            "batch": self._program.batch,
            "parameters": parameter_count(self._program.args[0]),
            "ms": round(1e3 * seconds, 4),
            "ms_of_blocks": [round(1e3 * each, 4) for each in blocks],
            "images_per_second": round(self._program.batch / seconds, 2),
            "tflops": round(self.flops / 1e12, 6),
            **self._setting.utilisation(self.flops, seconds),
            "program_bytes": total,
            "temporary_bytes": temporary,
            "device_peak_bytes": (self._setting.device.memory_stats() or {}).get("peak_bytes_in_use"),
            "loss": float(metrics["loss"]),
            "steps_skipped": int(metrics["skipped"]),
        }

    def start(self, compiled: Any) -> Stepper:
        """A run of the compiled step from random weights."""
        assert self._program is not None
        assert self._experiment is not None
        state, batch = self._program.args
        images = random_batch(batch, classes=len(self._experiment.dataset.spec.classes))
        return Stepper(compiled, random_state(state), put_batch(images, self._setting.mesh))


class Stepper:
    """A train step again and again on the same batch."""

    def __init__(self, compiled: Any, state: Any, batch: Any) -> None:
        self._compiled, self._batch = compiled, batch
        self._state = jax.device_put(state, compiled.input_shardings[0][0])
        self.metrics: Any = None

    def step(self) -> Any:
        """One optimiser step, not waited for."""
        self._state, self.metrics = self._compiled(self._state, self._batch)
        return self.metrics
