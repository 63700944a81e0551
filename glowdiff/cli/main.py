"""What the commands share: devices, the compilation cache, and errors worded for whoever made them."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import jax
from absl import app, flags, logging
from etils import epath

from glowdiff.errors import ConfigError
from glowdiff.training.loop import NonFiniteError
from glowdiff.workdir.checkpoint import CheckpointError

USER_ERRORS = (ConfigError, CheckpointError, NonFiniteError)  # what a message mends better than a traceback


def initialize() -> None:
    """Join the other processes of a pod or cluster, if there are any, and switch the compilation cache on."""
    logging.set_verbosity(logging.WARNING)  # the libraries below chat at INFO
    if _has_peers():
        count, index = os.environ.get("JAX_NUM_PROCESSES"), os.environ.get("JAX_PROCESS_ID")
        jax.distributed.initialize(
            num_processes=int(count) if count else None, process_id=int(index) if index else None
        )
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", str(epath.Path("~/.cache/glowdiff/xla").expanduser()))


def run_main(main: Callable[[list[str]], None]) -> None:
    """`absl.app.run`, with a line instead of a traceback for errors that the user can mend."""

    def guarded(argv: list[str]) -> None:
        try:
            main(argv)
        except USER_ERRORS as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)

    app.run(guarded, flags_parser=_parse_flags)


def _parse_flags(argv: list[str]) -> list[str]:
    """Absl's parser, with the configuration's own errors (unknown keys, wrong types) as a line."""
    try:
        arguments = flags.FLAGS(argv)
        _open_configuration()
        return arguments
    except flags.Error as error:
        message = str(error)
        if "Traceback" in message:  # of what a configuration file raised: its last line says what, after the type
            message = _last_line(message).partition(": ")[2]
    except OSError as error:
        message = f"the configuration cannot be read: {_last_line(str(error))}"
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        message = _unquoted(error)
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


def _open_configuration() -> None:
    """Raise now if the file that --config names could not be read: ml_collections does when it is first looked at."""
    if "config" in flags.FLAGS and flags.FLAGS["config"].value is not None:
        bool(flags.FLAGS.config.method)


def _last_line(message: str) -> str:
    return message.strip().splitlines()[-1].strip()


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


def _unquoted(error: BaseException) -> str:
    """The message of an error that ml_collections has wrapped, and quoted, several times over."""
    message = str(error.args[0]) if error.args else str(error)
    found = re.search(r'Did you mean "(\w+)" instead of "(\w+)"', message)
    return f"there is no {found[2]}. Did you mean {found[1]}?" if found else message
