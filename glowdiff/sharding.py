"""Where arrays live: one mesh, and one table of rules for batch and state."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from glowdiff.config.sections import MeshConfig
from glowdiff.errors import ConfigError

BATCH = PartitionSpec(("data", "fsdp"))  # every batch is split over all devices
REPLICATED = PartitionSpec()
MIN_SHARDED_SIZE = 2**12  # elements; smaller parameters cost less to keep everywhere than to gather

WHOLE_SHARE = 0.25  # of a device's memory that parameters may take which are gathered for a whole program
_MEMORY = {  # bytes of devices that programs are compiled for without one
    "TPU v4": 32 << 30,
    "TPU v5": 95 << 30,
    "TPU v5 lite": 16 << 30,
    "TPU v6 lite": 32 << 30,
}


class Platform(NamedTuple):
    """What programs are compiled for; kernels are chosen by it, never by the machine that happens to compile."""

    name: str  # cpu | gpu | tpu
    capability: int = 0  # of GPUs by NVIDIA, the major one; of TPUs, their generation
    mesh: Mesh | None = None  # of its devices: compilers do not split a TPU's kernels over them

    @property
    def attention(self) -> Literal["cudnn", "splash"] | None:
        """Whose kernel computes attention without weights in memory; None: there is none."""
        if self.name == "gpu" and self.capability >= 8:
            return "cudnn"
        return "splash" if self.name == "tpu" and self.capability >= 4 and self.mesh is not None else None

    @property
    def plain(self) -> Platform:
        """The same without kernels of its own."""
        return self._replace(capability=0)


def platform_of(mesh: Mesh | None = None) -> Platform:
    """What a mesh is made of; without one, JAX's default."""
    device = jax.devices()[0] if mesh is None else mesh.devices.flat[0]
    tpu = re.match(r"TPU ?v?(\d+)", device.device_kind)
    capability = tpu[1] if tpu else str(getattr(device, "compute_capability", "")).partition(".")[0]
    return Platform(device.platform, int(capability) if capability.isdigit() else 0, mesh)


def make_mesh(config: MeshConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """The mesh ("data", "fsdp") over all devices of all processes.

    Raises:
      ConfigError: data * fsdp is not the number of devices.
    """
    devices = devices if devices is not None else jax.devices()
    data = config.data if config.data != -1 else len(devices) // config.fsdp
    if data * config.fsdp != len(devices):
        raise ConfigError(
            f"mesh.data={config.data} times mesh.fsdp={config.fsdp} does not make the {len(devices)} devices there "
            f"are; with mesh.data=-1, mesh.fsdp may be any divisor of {len(devices)}."
        )
    return jax.make_mesh((data, config.fsdp), ("data", "fsdp"), (AxisType.Auto, AxisType.Auto), devices=devices)


def check_batch(name: str, batch: int, accumulate: int, mesh: Mesh) -> None:
    """Raise `ConfigError` unless every device gets the same number of images of every micro-batch."""
    parts = mesh.size * accumulate
    if batch % parts:
        below, above = batch // parts * parts, -(-batch // parts) * parts
        nearest = " or ".join(str(n) for n in (below, above) if n)
        micro = f" in {accumulate} micro-batches" if accumulate > 1 else ""
        raise ConfigError(
            f"{name} is {batch}, which {mesh.size} devices{micro} cannot share evenly; nearest that work: {nearest}."
        )


def partition_spec(shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    """Over which axis "fsdp" splits an array of the state: the longest that divides, if the array is worth it."""
    fsdp = mesh.shape["fsdp"]
    candidates = [axis for axis, length in enumerate(shape) if length % fsdp == 0]
    if fsdp == 1 or not candidates or np.prod(shape) < MIN_SHARDED_SIZE:
        return REPLICATED
    longest = max(candidates, key=lambda axis: shape[axis])
    return PartitionSpec(*(["fsdp" if axis == longest else None for axis in range(longest + 1)]))


def state_shardings(state: Any, mesh: Mesh) -> Any:
    """Shardings of a state (arrays or `ShapeDtypeStruct`s): parameters, averages and moments by `partition_spec`."""
    return jax.tree.map(lambda leaf: NamedSharding(mesh, partition_spec(leaf.shape, mesh)), state)


def fits_whole(arrays: Any, mesh: Mesh) -> bool:
    """Whether every device can hold all of `arrays` and still has most of its memory for other things.

    Where devices do not tell how much they have, it is taken to be enough.
    """
    device = mesh.devices.flat[0]
    try:
        memory = (device.memory_stats() or {}).get("bytes_limit")
    except Exception:  # devices that are only compiled for raise what they like
        memory = None
    memory = memory or _MEMORY.get(device.device_kind, math.inf)
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(arrays) if hasattr(leaf.dtype, "itemsize"))
    return size <= WHOLE_SHARE * memory


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Of every array of a batch, along its first axis."""
    return NamedSharding(mesh, BATCH)


def replicated(mesh: Mesh) -> NamedSharding:
    """On every device, whole."""
    return NamedSharding(mesh, REPLICATED)


def put_batch(batch: Any, mesh: Mesh) -> Any:
    """The global batch whose rows of this process are `batch` (arrays [local, ...])."""
    sharding = batch_sharding(mesh)
    return jax.tree.map(lambda array: jax.make_array_from_process_local_data(sharding, np.asarray(array)), batch)
