"""The training loop: every method's, restartable at any step."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import jax
import numpy as np
from etils import epath

from glowdiff.config.sections import Config
from glowdiff.data.batches import TrainIterator, eval_batches, train_batches
from glowdiff.errors import require_choice
from glowdiff.inference.drawer import Drawer
from glowdiff.method import conditions_of
from glowdiff.metrics.look import Network
from glowdiff.metrics.scores import make_scorer
from glowdiff.profiling.profiler import Profiler
from glowdiff.profiling.span import Span
from glowdiff.trained import keep_parts
from glowdiff.training.compilation import EFFORTS, compiled
from glowdiff.training.experiment import Experiment, build
from glowdiff.training.feed import Feed
from glowdiff.training.fine_tune import check_source, start_from
from glowdiff.training.measuring import Measuring
from glowdiff.training.optimizer import learning_rate
from glowdiff.training.preemption import Preemption
from glowdiff.training.report import Reporter, as_floats, print_table
from glowdiff.training.state import TrainState
from glowdiff.workdir import description as workdirs
from glowdiff.workdir.checkpoint import CheckpointError, Checkpoints
from glowdiff.workdir.lock import Lock


class NonFiniteError(RuntimeError):
    """Training stopped because loss or gradient stayed infinite or not a number."""


def train(
    config: Config,
    workdir: epath.PathLike,
    *,
    dry_run: bool = False,
    profile: Span | None = None,
    effort: str | None = None,
    network: Network | None = None,
) -> dict[str, float]:
    """Train `config` in `workdir`, going on where an earlier run of it stopped.

    SIGTERM, Ctrl-C and SIGHUP save and return at the next step boundary.

    Args:
      config: what to train.
      workdir: the run's folder; local or `gs://`.
      dry_run: check everything, print the table, and train nothing.
      profile: steps of which a trace goes to `workdir`/profile, and a table of the heaviest operations to the terminal.
      effort: of the compiler for a fast train step, from O0, which compiles soonest, to O3; None: its default.
      network: that of `eval.features`, see `glowdiff.importers.feature_network.find`, if there are `eval.metrics`.

    Returns:
      The metrics of the last step that was evaluated.

    Raises:
      ConfigError: the configuration is impossible, or not the one that the workdir holds; steps to profile are done
        already, or beyond the last; or there is no such effort.
      CheckpointError: no checkpoint can be read or written; nothing is ever restarted silently.
      NonFiniteError: `train.max_skips` steps in a row were not finite.
    """
    if effort is not None:
        require_choice("effort", effort, tuple(EFFORTS))
    with Preemption() as preemption, Lock(workdir) as lock, Checkpoints(workdir) as checkpoints:
        checkpoints.check_root()
        if profile:
            done, total = max(checkpoints.steps(), default=0), config.train.steps
            profile.check_within(done, total, f"train.steps is {total}")
        if config.train.init_from and not checkpoints.steps():  # what goes on needs it no more
            check_source(config.train.init_from)
        experiment = build(config, workdir)
        earlier = workdirs.check_rerun(workdir, config, experiment.dataset.spec)
        measuring = Measuring(experiment, network) if config.eval.metrics else None
        with contextlib.closing(_batches(experiment)) as batches:
            print_table(experiment, experiment.abstract_state())
            if dry_run:
                lock.check_free()
                return {}
            lock.take()
            if jax.process_index() == 0:
                workdirs.write(workdir, config, experiment.dataset.spec)
                if experiment.tokenizer:
                    experiment.tokenizer.save(workdir)
            keep_parts(config, workdir)
            run = _Run(experiment, workdir, checkpoints, preemption, batches, lock)
            run.effort, run.measuring = effort, measuring
            run.say_rates(earlier)
            if profile is None:
                return run.run()
            with Profiler(profile, epath.Path(workdir) / "profile", run.reporter.say) as run.profiler:
                return run.run()


def _batches(experiment: Experiment) -> TrainIterator:
    config = experiment.config
    return train_batches(
        experiment.dataset,
        config.data,
        batch=config.train.batch,
        seed=config.seed,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )


class _Run:
    """One run of the loop, from a checkpoint or from scratch to the last step or SIGTERM."""

    def __init__(
        self,
        experiment: Experiment,
        workdir: epath.PathLike,
        checkpoints: Checkpoints,
        preemption: Preemption,
        batches: TrainIterator,
        lock: Lock,
    ) -> None:
        self.experiment, self.config = experiment, experiment.config
        self.checkpoints, self.preemption, self.batches, self.lock = checkpoints, preemption, batches, lock
        self.profiler: Profiler | None = None
        self.effort: str | None = None
        self.measuring: Measuring | None = None
        self.due: dict[str, float] | None = None  # metrics of the last step, if it was saved before all was shown
        restored = checkpoints.restore_latest(experiment.abstract_state()._asdict())
        if restored is None:
            self.start, self.metrics, self.state = 0, {}, experiment.initial_state()
            if self.config.train.init_from:
                self.state = start_from(self.state, experiment, self.config.train.init_from)
        else:
            self.start, self.metrics = restored.step, restored.metrics
            self.state = TrainState(**restored.state)
            self.batches.restore(restored.data["position"])
            self.due = restored.data.get("due")
        done = self.start if self.due is None else self.start - 1
        self.reporter = Reporter(workdir, done, self.config.train.steps, self.config.train.batch)
        self.trusted = restored is not None  # whether a step of this workdir has been read back
        if restored is not None:
            self.reporter.say(f"Going on after step {self.start}, from {epath.Path(workdir) / 'checkpoints'}.")
        self.feed = Feed(self.batches, experiment.mesh)
        self.frozen = (dict(experiment.frozen),) if experiment.frozen else ()
        self.evaluate = make_scorer(experiment.method, experiment.mesh)
        self.diagnose = jax.jit(experiment.method.diagnostics) if experiment.method.diagnostics else None
        self.drawer = Drawer(experiment.method, experiment.mesh) if experiment.method.draws else None

    def run(self) -> dict[str, float]:
        """Train; see `train`."""
        last = self.config.train.steps
        try:
            if self.measuring and (self.due is not None or self.start < last):
                self.measuring.look_at_reference()
            if self.due is not None:
                self._show(self.start, self.due)
            if self.start >= last:
                self.reporter.say(f"All {last} steps are done; raise train.steps to go on.")
                return self.metrics
            step_function = self._compile()
            if self.profiler:
                step_function = self.profiler.watch(step_function, self.start)
            self.preemption.begin()
            for step in range(self.start + 1, last + 1):
                self.state, metrics = step_function(self.state, self.feed.next(), *self.frozen)
                if step < last:
                    self.feed.prepare()
                stop = self.preemption.requested(step)
                self.reporter.advance(step)
                self._boundary(step, metrics, stop=stop, final=step == last)
                if stop and step < last:
                    cause = self.preemption.cause or "SIGTERM"
                    self.reporter.say(f"Stopped by {cause} after step {step}; the same command goes on from there.")
                    break
            self.checkpoints.wait()
            return self.metrics
        except CheckpointError:
            self.lock.check()  # it names the cause, if that is another folder
            raise
        finally:
            self.reporter.close()

    def say_rates(self, earlier: Config | None) -> None:
        """Say if the learning rate jumps, because it decays to another `train.steps` than in the run before."""
        if earlier is None or self.start == 0:
            return
        before, now = (float(np.asarray(learning_rate(config)(self.start))) for config in (earlier, self.config))
        if not math.isclose(before, now, rel_tol=0.01):
            self.reporter.say(
                f"The learning rate goes from {before:.3g} to {now:.3g}: it decays until train.steps, which was "
                f"{earlier.train.steps} and is {self.config.train.steps}. To decay as before: "
                f"--config.optimizer.decay_steps={earlier.optimizer.decay_steps or earlier.train.steps}."
            )

    def _save(self, step: int, data: dict[str, Any], values: dict[str, float]) -> None:
        """Save; the first time also read it back, for a workdir that cannot be read is no use."""
        self.lock.check()
        self.checkpoints.save(step, self.state._asdict(), data, values)
        if not self.trusted:
            self.checkpoints.read_back(step, self.experiment.abstract_state()._asdict())
            self.trusted = True

    def _compile(self) -> Any:
        """Compile the step now, and say so, rather than at the first call."""
        self.reporter.say("Compiling the train step ...")
        batch = self.experiment.example_batch(self.config.train.batch)
        lowered = self.experiment.train_step().lower(self.state, batch, *self.frozen)
        program, message = compiled(lowered, self.effort)
        self.reporter.say(message)
        return program

    def _boundary(self, step: int, metrics: Any, *, stop: bool, final: bool) -> None:
        """What is due after a step. Its line is written before its checkpoint, so that no line is ever missing."""
        config = self.config
        save = stop or final or step % config.train.checkpoint_every == 0
        measures = config.eval.metrics_every if self.measuring else None
        shown = any(self._due(each, step) for each in (config.eval.every, config.pictures.every, measures))
        if not (save or shown or self._due(config.train.log_every, step)):
            return
        values = as_floats(metrics)
        if values["skipped_in_row"] >= config.train.max_skips:
            culprit = "loss" if not math.isfinite(values["loss"]) else "grad_norm"
            raise NonFiniteError(
                f"{culprit} has been {values[culprit]} for {values['skipped_in_row']:.0f} steps in a row, up to step "
                f"{step}; training stops. The last checkpoint stands. Try a lower optimizer.learning_rate, a longer "
                "optimizer.warmup_steps or train.clip."
            )
        data = {"position": self.feed.position}
        if stop and shown:
            # Evaluation may outlast the time that is left: the next run makes up for it, before its first step.
            self._save(step, data | {"due": values}, values)
            return
        self.lock.check()
        values = self._show(step, values)
        if save:
            self._save(step, data, values)

    def _show(self, step: int, values: dict[str, float]) -> dict[str, float]:
        """Evaluate, draw and log what is due after `step`; return its metrics."""
        config, experiment, logged = self.config, self.experiment, values.keys()
        variables = experiment.variables(self.state.variables)
        if config.train.ema_decay:
            variables = {**variables, "params": self.state.ema}
        if self.evaluate and self._due(config.eval.every, step):
            batches = eval_batches(
                experiment.dataset,
                batch=experiment.eval_batch(),
                limit=config.eval.images,
                process_index=jax.process_index(),
                process_count=jax.process_count(),
            )
            values = values | {f"test_{name}": mean for name, mean in self.evaluate(variables, batches).items()}
            if self.diagnose:
                values |= as_floats(self.diagnose(variables))
            self.metrics = values
        if self.drawer and self._due(config.pictures.every, step):
            key = jax.random.key(config.seed)  # the same noise each time, so that pictures show progress
            number, cond = config.pictures.images, self._conditions()
            drawn = self.drawer(variables, key, number, cond=cond, options=config.sampling, allow_nonfinite=True)
            if experiment.method.draws and (above := experiment.method.draws.above):
                drawn = drawn._replace(images=np.concatenate([cond[above], drawn.images], 1))
            self.reporter.picture(step, drawn, experiment.dataset.spec)
        if self.measuring and self.drawer and self._due(config.eval.metrics_every, step):
            found, lost = self.measuring(self.drawer, variables)
            self.reporter.figures(step, found, lost)
            values = values | {figure.name: figure.value for figure in found}
            self.metrics = self.metrics | values
        if values.keys() != logged or self._due(config.train.log_every, step):
            waited, self.feed.waited = self.feed.waited, 0.0
            self.reporter.scalars(step, values, waited)
        return values

    def _conditions(self) -> dict[str, np.ndarray]:
        """What the method's samples need, made of the first test images: the same on every process."""
        takes = self.experiment.method.takes
        if not any((each.of_data and each.shape) or each.of_images for each in takes):  # labels are drawn
            return {}
        number = self.config.pictures.images
        first = next(eval_batches(self.experiment.dataset, batch=number, limit=number))
        return {name: np.asarray(array) for name, array in conditions_of(takes, first).items()}

    def _due(self, every: int | None, step: int) -> bool:
        """Whether it is time for what is done every so many steps; 0: at the end alone; None: never."""
        return every is not None and (step == self.config.train.steps or (every > 0 and step % every == 0))
