"""The files of one saved step: Orbax's arrays, and JSON beside them."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from etils import epath

from glowdiff.errors import require
from glowdiff.workdir import manifest as manifests
from glowdiff.workdir.checksum import leaves_by_path
from glowdiff.workdir.faults import DamagedError
from glowdiff.workdir.quiet import hush_others

_LITTLE = 2**27  # bytes that are written together at least, where memory is to be spared


def check_path(root: epath.PathLike) -> None:
    """Raise `ConfigError` where nothing that is saved could be read back.

    Orbax, and etils below it, take the names of folders for patterns; TensorStore takes a backslash for a slash.
    """
    path = str(root)
    culprits = "".join(character for character in "*?[\\" if character in path)
    require(
        not culprits,
        f"{path} has {' '.join(culprits)} in its path, which the library that saves checkpoints takes for a pattern: "
        "nothing saved there could be read back. Use a workdir without * ? [ and \\ in its path.",
    )


def sparing(tree: Any) -> dict[str, Any]:
    """What makes Orbax save a tree of arrays few at a time: of all that is on its way to the disk it keeps copies."""
    largest = max((array.nbytes for array in jax.tree.leaves(tree)), default=0)
    limit: Any = (max(largest, _LITTLE) + 2**20) / 10**9  # gigabytes, which need not be whole
    handlers: dict[str, Any] = {"state": ocp.PyTreeCheckpointHandler(save_concurrent_gb=limit)}
    return handlers | {name: ocp.JsonCheckpointHandler() for name in ("data", "meta")}


def read_json(folder: epath.Path) -> tuple[manifests.Manifest, dict[str, Any]]:
    """The manifest of a step's folder, and the position of the data.

    Raises:
      DamagedError: they are not what was saved, or not as this step.
      OSError, ValueError: they cannot be read.
    """
    manifest, data = (json.loads((folder / item / "metadata").read_text()) for item in ("meta", "data"))
    manifests.check_digest(manifest, data)
    if str(manifest.get("step", folder.name)) != folder.name:
        raise DamagedError(f"it holds step {manifest['step']}, under another number")
    return manifest, data


def read_arrays(folder: epath.Path, manifest: manifests.Manifest, like: dict[str, Any]) -> dict[str, jax.Array]:
    """Arrays of a step's folder, by path; their checksums are not looked at.

    Args:
      folder: of the step.
      manifest: of it.
      like: arrays or `jax.ShapeDtypeStruct`s with the sharding to restore to.

    Raises:
      DamagedError: one is missing, or another one.
      Exception: of Orbax, of many types.
    """
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
            try:
                tree = handler.restore(
                    folder / "state", args=ocp.args.PyTreeRestore(full, restore_args=arguments, partial_restore=True)
                )
            except Exception:
                hush_others()
                raise
        arrays = leaves_by_path(tree)
    for path, struct in structs.items():
        if not struct.size:
            arrays[path] = jnp.zeros(struct.shape, struct.dtype, device=struct.sharding)
    for path, struct in structs.items():
        array = arrays.get(path)  # a leaf that the files do not name comes back as the struct it was asked for with
        if not isinstance(array, jax.Array) or (array.shape, array.dtype) != (struct.shape, struct.dtype):
            raise DamagedError(f"{path} is missing from its files, or has another shape or dtype there")
    return {path: manifests.from_stored(arrays[path], entries[path]) for path in like}
