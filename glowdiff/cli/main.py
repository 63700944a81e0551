"""What the commands share: devices, the compilation cache, and errors worded for whoever made them."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
from absl import logging

from glowdiff.cli.paths import expanded
from glowdiff.errors import ConfigError, printable
from glowdiff.importers.mapping import WeightsError
from glowdiff.training.loop import NonFiniteError
from glowdiff.workdir.checkpoint import CheckpointError

USER_ERRORS = (
    ConfigError,
    CheckpointError,
    NonFiniteError,
    WeightsError,
)  # what a message mends better than a traceback
INTERRUPTED = 130  # the exit status of shells after Ctrl-C
Main = Callable[..., int]  # (arguments=None) -> exit status; None: those of the process


def command(body: Callable[[Sequence[str]], None]) -> Main:
    """The `main` of a command: errors that the user can mend are a line on stderr, and the exit status tells."""

    @functools.wraps(body)
    def main(arguments: Sequence[str] | None = None) -> int:
        try:
            body(sys.argv[1:] if arguments is None else list(arguments))
        except SystemExit as stop:  # of help
            return int(stop.code or 0)
        except KeyboardInterrupt:
            return _fail("interrupted.", INTERRUPTED)
        except USER_ERRORS as error:
            return _fail(str(error))
        except OSError as error:  # a full disk, a folder that nobody may read
            return _fail(f"{error.filename or 'a file'}: {error.strerror or error}")
        return 0

    return main


def initialize() -> None:
    """Join the other processes of a pod or cluster, if there are any, and switch the compilation cache on."""
    logging.set_verbosity(logging.WARNING)  # the libraries below chat at INFO
    if _has_peers():
        count, index = os.environ.get("JAX_NUM_PROCESSES"), os.environ.get("JAX_PROCESS_ID")
        jax.distributed.initialize(
            num_processes=int(count) if count else None, process_id=int(index) if index else None
        )
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR") and os.environ.get("HOME", "~"):
        jax.config.update("jax_compilation_cache_dir", expanded("the compilation cache", "~/.cache/glowdiff/xla"))


def _fail(message: str, status: int = 1) -> int:
    """One line, whatever stands in names of files."""
    print(f"error: {printable(' '.join(message.splitlines()))}", file=sys.stderr)
    return status


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
