"""Checkpoints: atomic, checked when they are read, and independent of how many devices wrote them.

A step is one folder, `WORKDIR/checkpoints/STEP/`, which appears whole or not at all. It holds the state's arrays, the
data pipeline's position and a manifest (`glowdiff.workdir.manifest`). Only this module knows Orbax.
"""

from __future__ import annotations

import contextlib
import json
import logging as python_logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from jax.experimental import multihost_utils

from glowdiff.workdir import manifest as manifests
from glowdiff.workdir.agreement import first_line, from_first_process, together
from glowdiff.workdir.checksum import as_array, key_data, leaves_by_path
from glowdiff.workdir.manifest import DamagedError
from glowdiff.workdir.retention import Retention

PyTree = Any

_ORBAX = str(epath.Path(ocp.__file__).parent)


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written, or cannot be read into what was asked for."""


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
    """

    def __init__(self, workdir: epath.PathLike, *, best: Sequence[str] = ("test_bits_per_dim", "test_loss")) -> None:
        root = epath.Path(workdir) / "checkpoints"
        self._root = root if root.is_absolute() else root.resolve()
        self._retention = Retention(lambda step: _read_json(self._root / str(step))[0]["metrics"], best)
        self._manager: ocp.CheckpointManager | None = None
        self._saving: int | None = None
        logging.get_absl_logger().addFilter(_quiet)

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def steps(self) -> list[int]:
        """The steps that were saved completely, in order."""
        return sorted(entry.step for entry in ocp.path.step.standard_name_format().find_all(self._root))

    def best_step(self) -> int | None:
        """The step with the lowest value of the `best` metric, the later one of equals; None if none has one."""
        return self._retention.best_of(self.steps())

    def save(self, step: int, state: PyTree, data: dict[str, Any], metrics: dict[str, float]) -> None:
        """Start saving a step; returns once the arrays may be changed or donated. Does nothing if it is saved already.

        Args:
          step: the number of training steps that led to `state`.
          state: a tree of arrays, typed PRNG keys among them.
          data: the data pipeline's position, as JSON.
          metrics: numbers by name.

        Raises:
          CheckpointError: this save, or the one before it, could not be written; or a later step exists.
          TypeError: a leaf of `state` is not an array, or `data` is not JSON.
        """
        self.wait()
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
        manifest = manifests.describe(arrays, data, metrics)
        self._retention.remember(step, manifest["metrics"])
        # Orbax does not save empty arrays; the manifest is enough to make them again.
        tree = manifests.nested({path: key_data(array) for path, array in arrays.items() if array.size})
        with self._blaming(step):
            self._saving = step
            self._open().save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.PyTreeSave(tree), data=ocp.args.JsonSave(data), meta=ocp.args.JsonSave(manifest)
                ),
                force=True,  # whether to save is decided above
            )

    def wait(self) -> None:
        """Wait until the step being saved is complete.

        Raises:
          CheckpointError: it could not be written. Earlier steps are intact.
        """
        if self._manager is not None and self._saving is not None:
            with self._blaming(self._saving):
                self._manager.wait_until_finished()
            self._saving = None

    def close(self) -> None:
        """Wait as `wait` does, and let go of Orbax's threads."""
        try:
            self.wait()
        finally:
            self._shut()
            logging.get_absl_logger().removeFilter(_quiet)

    def restore_latest(self, like: PyTree) -> Restored | None:
        """The newest intact step, or None if no step was ever saved completely.

        Damaged steps newer than it are moved aside, to `checkpoints/damaged-STEP`, with a warning each. What a killed
        run left half-written is removed.

        Args:
          like: a tree of `jax.ShapeDtypeStruct` (with the `sharding` to restore to) or arrays, the whole state's.

        Raises:
          CheckpointError: every step is damaged (none is moved then), or the state differs from `like` in its
            leaves, their shapes or dtypes.
        """
        self.wait()
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
        if damaged:
            reasons = "\n  ".join(damaged.values())
            raise CheckpointError(f"No checkpoint can be used.\n  {reasons}\nNothing was changed.")
        if self._root.exists() and list(self._root.glob("damaged-*")):
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

    def _read(self, step: int, like: PyTree, *, part: bool) -> Restored:
        folder = self._root / str(step)
        manifest, data = together(lambda: _read_json(folder))
        leaves = leaves_by_path(like)
        if different := manifests.differences(manifest, leaves, part=part):
            raise CheckpointError(f"{folder} does not fit this configuration:\n  {different}")
        arrays = together(lambda: _read_arrays(folder, manifest, leaves))
        manifests.check_checksums(manifest, arrays)
        state = jax.tree.unflatten(jax.tree.structure(like), [arrays[path] for path in leaves])
        return Restored(step, state, data, manifest["metrics"])

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

    def _open(self) -> ocp.CheckpointManager:
        """Start Orbax for writing; it removes what a killed run left half-written."""
        if self._manager is None:
            options = ocp.CheckpointManagerOptions(preservation_policy=self._retention, cleanup_tmp_directories=True)
            self._manager = ocp.CheckpointManager(self._root, options=options)
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


def _read_json(folder: epath.Path) -> tuple[manifests.Manifest, dict[str, Any]]:
    manifest, data = (json.loads((folder / item / "metadata").read_text()) for item in ("meta", "data"))
    manifests.check_digest(manifest, data)
    return manifest, data


def _read_arrays(folder: epath.Path, manifest: manifests.Manifest, like: dict[str, Any]) -> dict[str, jax.Array]:
    entries = {path: manifest["leaves"][path] for path in like}
    structs = {path: manifests.stored_form(leaf, entries[path]) for path, leaf in like.items()}
    full = manifests.nested({path: struct for path, struct in structs.items() if struct.size})
    arrays: dict[str, jax.Array] = {}
    if full:
        arguments = jax.tree.map(
            lambda s: ocp.ArrayRestoreArgs(sharding=s.sharding, global_shape=s.shape, dtype=s.dtype), full
        )
        # The handler itself: Orbax's checkpointers end in a barrier, which the processes that read would wait at for
        # ever when one of them cannot.
        with contextlib.closing(ocp.PyTreeCheckpointHandler()) as handler:
            tree = handler.restore(
                folder / "state", args=ocp.args.PyTreeRestore(full, restore_args=arguments, partial_restore=True)
            )
        arrays = leaves_by_path(tree)
    for path, struct in structs.items():
        if not struct.size:
            arrays[path] = jnp.zeros(struct.shape, struct.dtype, device=struct.sharding)
    for path, struct in structs.items():
        array = arrays.get(path)  # a leaf that the files do not name comes back as the struct it was asked for with
        if not isinstance(array, jax.Array) or (array.shape, array.dtype) != (struct.shape, struct.dtype):
            raise DamagedError(f"{path} is missing from its files, or has another shape or dtype there")
    return {path: manifests.from_stored(arrays[path], entries[path]) for path in like}


def _quiet(record: python_logging.LogRecord) -> bool:
    """Drop Orbax's messages below warnings, some twenty per save, and nobody else's."""
    return record.levelno >= python_logging.WARNING or not record.pathname.startswith(_ORBAX)
