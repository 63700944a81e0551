"""The other processes of a run on several hosts: joined at the start, and named when one of them is lost."""

from __future__ import annotations

import importlib.util
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

# What a lost process looks like from the others: a collective, or a barrier of a save, that fails.
_LOST = re.compile(r"gloo|UNAVAILABLE|DEADLINE_EXCEEDED|ABORTED|heartbeat|barrier|coordination|by peer", re.IGNORECASE)
_BYTES = 80  # of a process's name

_names: list[str] = []  # of all processes, "HOST PID"


def join() -> None:
    """Join the other processes of a pod or cluster, if there are any."""
    if not _has_peers():
        return
    count, index = os.environ.get("JAX_NUM_PROCESSES"), os.environ.get("JAX_PROCESS_ID")
    jax.distributed.initialize(num_processes=int(count) if count else None, process_id=int(index) if index else None)
    if jax.process_count() > 1:
        name = f"{socket.gethostname()[:60]} {os.getpid()}".encode().ljust(_BYTES)
        rows = multihost_utils.process_allgather(np.frombuffer(name, np.uint8))
        _names[:] = [bytes(np.asarray(row)).decode().strip() for row in rows]


def lost(error: BaseException) -> str:
    """What to say of an error that the loss of another process has caused; empty if it has not."""
    texts = [f"{type(each).__name__}: {each}" for each in _chain(error)]
    if len(_names) < 2 or not any(_LOST.search(text) for text in texts):
        return ""
    others = [index for index in range(len(_names)) if index != jax.process_index()]
    gone = [index for index in others if _is_gone(_names[index])] or others
    listed = " or ".join("process {} (on {}, pid {})".format(index, *_names[index].split()) for index in gone)
    return (
        f"{listed} is lost: it has ended, or its machine cannot be reached ({texts[-1].splitlines()[0][:200]}). The "
        "same command, on every host, goes on from the last checkpoint."
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _is_gone(name: str) -> bool:
    """Whether a process of this host has ended; of other hosts nobody knows."""
    host, pid = name.split()
    if host != socket.gethostname()[:60]:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


def _has_peers() -> bool:
    """Whether this is one process of several: named so by hand, by Slurm or Open MPI, or on a TPU host."""
    if os.environ.get("JAX_COORDINATOR_ADDRESS"):
        return True
    counts = (os.environ.get(name, "1") for name in ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE"))
    if any(count.isdigit() and int(count) > 1 for count in counts):
        return True
    # A TPU host finds its peers through its metadata; a slice of a single host is a cluster of one.
    has_tpu = Path("/dev/accel0").exists() or Path("/dev/vfio/0").exists()
    return has_tpu and importlib.util.find_spec("libtpu") is not None
