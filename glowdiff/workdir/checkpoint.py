"""Checkpoints: atomic, checked when they are read, and independent of how many devices wrote them.

A step is one folder, `WORKDIR/checkpoints/STEP/`, which appears whole or not at all. It holds the state's arrays, the
data pipeline's position and a manifest (`glowdiff.workdir.manifest`). Only this package knows Orbax.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from jax.experimental import multihost_utils

from glowdiff.workdir import last_step
from glowdiff.workdir import manifest as manifests
from glowdiff.workdir.agreement import from_first_process, together
from glowdiff.workdir.checksum import as_array, key_data, leaves_by_path
from glowdiff.workdir.faults import CheckpointError, DamagedError, UnreadableError, first_line, not_read
from glowdiff.workdir.quiet import hush_others, hush_saves, unhush_saves
from glowdiff.workdir.retention import Retention
from glowdiff.workdir.step_files import check_path, read_arrays, read_json, sparing

PyTree = Any

_BEST = ("test_bits_per_dim", "test_loss")
_AT_ONCE = 2**28  # bytes that are read back together


class Restored(NamedTuple):
    """A step that was read and found intact."""

    step: int
    state: PyTree
    data: dict[str, Any]
    metrics: dict[str, float]


class Checkpoints:
    """The checkpoints of a workdir.

    Making one touches no file: only `save` and `restore_latest` write. `steps`, `best_step`, `restore` and
    `restore_part` read only, so they are safe while a training run is writing. In a multi-process run every process
    must make the same calls in the same order.

    Args:
      workdir: the run's folder; local or `gs://`.
      best: metrics of which the lowest value of the first that a run has marks the best step; it is kept besides the
        newest two.
      spare: arrays are written few at a time, so that saving takes hardly more memory than they do.
    """

    def __init__(self, workdir: epath.PathLike, *, best: Sequence[str] = _BEST, spare: bool = False) -> None:
        root = epath.Path(workdir) / "checkpoints"
        self._root = root if root.is_absolute() else root.resolve()
        self._retention = Retention(lambda step: read_json(self._root / str(step))[0]["metrics"], best)
        self._manager: ocp.CheckpointManager | None = None
        self._saving: int | None = None
        self._spare = spare
        hush_saves()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        with contextlib.suppress(CheckpointError) if kind else contextlib.nullcontext():  # the first error says more
            self.close()

    def steps(self) -> list[int]:
        """The steps that were saved completely, in order."""
        return sorted(entry.step for entry in ocp.path.step.standard_name_format().find_all(self._root))

    def best_step(self) -> int | None:
        """The step with the lowest value of the `best` metric, the later one of equals; None if none has one."""
        return self._retention.best_of(self.steps())

    def check_root(self) -> None:
        """Check, and write nothing, what can be checked before a run.

        Raises:
          ConfigError: nothing that is saved here could be read back, for the path's sake.
          CheckpointError: steps have been saved, but none is there.
        """
        check_path(self._root)
        if not from_first_process(self.steps()) and not self._has_damaged():
            last_step.check_not_lost(self._root.parent)

    def save(self, step: int, state: PyTree, data: dict[str, Any], metrics: dict[str, float]) -> None:
        """Start saving a step; returns once the arrays may be changed or donated. Does nothing if it is saved already.

        Args:
          step: the number of training steps that led to `state`.
          state: a tree of arrays, typed PRNG keys among them.
          data: the data pipeline's position, as JSON.
          metrics: numbers by name.

        Raises:
          ConfigError: as of `check_root`.
          CheckpointError: this save, or the one before it, could not be written; or a later step exists.
          TypeError: a leaf of `state` is not an array, or `data` is not JSON.
        """
        self.wait()
        check_path(self._root)
        steps = from_first_process(self.steps())
        if step in steps:
            return
        if steps and step < steps[-1]:
            raise CheckpointError(
                f"Step {step} is not saved: {self._root} holds the later step {steps[-1]}. To go on from an earlier "
                "step, train in another workdir or remove the later ones."
            )
        arrays = {path: as_array(path, leaf) for path, leaf in leaves_by_path(state).items()}
        data = json.loads(json.dumps(data))
        manifest = manifests.describe(step, arrays, data, metrics)
        self._retention.remember(step, manifest["metrics"])
        # Orbax does not save empty arrays; the manifest is enough to make them again.
        tree = manifests.nested({path: key_data(array) for path, array in arrays.items() if array.size})
        with self._blaming(step):
            self._saving = step
            items = ocp.args.Composite(
                state=ocp.args.PyTreeSave(tree), data=ocp.args.JsonSave(data), meta=ocp.args.JsonSave(manifest)
            )
            self._open(sparing(tree) if self._spare else None).save(step, args=items, force=True)  # see above

    def wait(self) -> None:
        """Wait until the step being saved is complete.

        Raises:
          CheckpointError: it could not be written. Earlier steps are intact.
        """
        if self._manager is not None and self._saving is not None:
            with self._blaming(self._saving):
                self._manager.wait_until_finished()
            if jax.process_index() == 0:
                last_step.write(self._root.parent, self._saving)
            self._saving = None

    def read_back(self, step: int, like: PyTree) -> None:
        """Read a step that has just been saved, a few arrays at a time, and keep nothing of it.

        Args:
          step: the one.
          like: its state, or its shapes with shardings.

        Raises:
          CheckpointError: it is not there as it was saved, so that training on would be in vain.
        """
        self.wait()
        group: dict[str, Any] = {}
        for path, leaf in leaves_by_path(like).items():
            group[path] = leaf
            if sum(4 * each.size for each in group.values()) > _AT_ONCE:
                self._read_one(step, manifests.nested(group), part=True)
                group = {}
        self._read_one(step, manifests.nested(group), part=True)

    def close(self) -> None:
        """Wait as `wait` does, and let go of Orbax's threads."""
        try:
            self.wait()
        finally:
            self._shut()
            unhush_saves()

    def restore_latest(self, like: PyTree) -> Restored | None:
        """The newest intact step, or None if no step was ever saved completely.

        Damaged steps newer than it are moved aside, to `checkpoints/damaged-STEP`, with a warning each. What a killed
        run left half-written is removed before the next save.

        Args:
          like: a tree of `jax.ShapeDtypeStruct` (with the `sharding` to restore to) or arrays, the whole state's.

        Raises:
          CheckpointError: every step is damaged (none is moved then) or gone, none can be read just now, or the state
            differs from `like` in its leaves, their shapes or dtypes.
        """
        self.wait()
        self.check_root()
        self._open()
        restored, damaged = self._newest_intact(like, part=False)
        for step in damaged:
            self._move_aside(step)
        return restored

    def restore(self, step: int, like: PyTree) -> Restored:
        """One step. Moves and removes nothing.

        Raises:
          CheckpointError: there is no such step, it is damaged, or it differs from `like`.
        """
        return self._read_one(step, like, part=False)

    def restore_part(self, like: PyTree, step: int | None = None) -> Restored:
        """Some leaves of a step without reading the others. Moves and removes nothing.

        Args:
          like: the leaves to read, at their places in the state, such as `{"ema": ..., "variables": ...}`.
          step: which step; default the newest whose leaves are intact.

        Raises:
          CheckpointError: there is no (such) step, every step is damaged, or a leaf is missing or differs.
        """
        if step is not None:
            return self._read_one(step, like, part=True)
        restored, _ = self._newest_intact(like, part=True)
        if restored is None:
            raise CheckpointError(f"There is no checkpoint in {self._root}.")
        return restored

    def _newest_intact(self, like: PyTree, *, part: bool) -> tuple[Restored | None, list[int]]:
        steps = from_first_process(self.steps())
        damaged: dict[int, str] = {}
        for step in reversed(steps):
            try:
                return self._read(step, like, part=part), list(damaged)
            except DamagedError as error:
                damaged[step] = f"{self._root / str(step)} is damaged: {error}"
                logging.warning("%s. It is not used.", damaged[step])
            except UnreadableError as error:
                raise not_read(self._root / str(step), error) from error
        if damaged:
            reasons = "\n  ".join(damaged.values())
            raise CheckpointError(f"No checkpoint can be used.\n  {reasons}\nNothing was changed.")
        if self._has_damaged():
            raise CheckpointError(f"{self._root} holds only damaged checkpoints. To start afresh, use another workdir.")
        return None, []

    def _read_one(self, step: int, like: PyTree, *, part: bool) -> Restored:
        steps = from_first_process(self.steps())
        if step not in steps:
            raise CheckpointError(f"There is no step {step} in {self._root}; it holds {steps or 'none'}.")
        try:
            return self._read(step, like, part=part)
        except DamagedError as error:
            raise CheckpointError(f"{self._root / str(step)} is damaged: {error}.") from error
        except UnreadableError as error:
            raise not_read(self._root / str(step), error) from error

    def _read(self, step: int, like: PyTree, *, part: bool) -> Restored:
        folder = self._root / str(step)
        if "\\" in str(folder):
            check_path(folder)
        manifest, data = together(lambda: read_json(folder))
        leaves = leaves_by_path(like)
        if different := manifests.differences(manifest, leaves, part=part):
            raise CheckpointError(f"{folder} does not fit this configuration:\n  {different}")
        arrays = together(lambda: read_arrays(folder, manifest, leaves))
        manifests.check_checksums(manifest, arrays)
        state = jax.tree.unflatten(jax.tree.structure(like), [arrays[path] for path in leaves])
        return Restored(step, state, data, manifest["metrics"])

    def _has_damaged(self) -> bool:
        return self._root.exists() and any(path.name.startswith("damaged-") for path in self._root.iterdir())

    def _move_aside(self, step: int) -> None:
        """Take a damaged step out of Orbax's way, which would not save that step again."""
        if jax.process_index() == 0:
            target, copies = self._root / f"damaged-{step}", 0
            while target.exists():
                copies += 1
                target = self._root / f"damaged-{step}.{copies}"
            (self._root / str(step)).rename(target)
            logging.warning("Moved the damaged checkpoint %s to %s.", self._root / str(step), target)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(f"moved aside {step}")
        self._retention.forget(step)
        self._open().reload()

    def _open(self, handlers: Any = None) -> ocp.CheckpointManager:
        """Start Orbax for writing, perhaps by its `sparing`; it removes what a killed run left half-written."""
        if self._manager is None:
            hush_others()
            options = ocp.CheckpointManagerOptions(preservation_policy=self._retention, cleanup_tmp_directories=True)
            self._manager = ocp.CheckpointManager(self._root, options=options, item_handlers=handlers)
        return self._manager

    def _shut(self) -> None:
        manager, self._manager, self._saving = self._manager, None, None
        if manager is not None:
            manager.close()

    @contextlib.contextmanager
    def _blaming(self, step: int) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            # Orbax counts the failed step among the saved ones; a manager opened afresh does not.
            with contextlib.suppress(Exception):
                self._shut()
            self._retention.forget(step)
            raise CheckpointError(
                f"Step {step} could not be saved in {self._root} (is the disk full?): {first_line(error)}. "
                "Earlier steps are intact."
            ) from error
