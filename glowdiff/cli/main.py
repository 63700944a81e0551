"""What the commands share: devices, the compilation cache, and errors worded for whoever made them."""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import jax
from absl import logging
from etils import epath

from glowdiff.cli import peers
from glowdiff.cli.paths import expanded
from glowdiff.cli.words import INTERRUPTED
from glowdiff.errors import ConfigError, printable
from glowdiff.importers.mapping import WeightsError
from glowdiff.training.loop import NonFiniteError
from glowdiff.workdir.faults import CheckpointError

USER_ERRORS = (
    ConfigError,
    CheckpointError,
    NonFiniteError,
    WeightsError,
)  # what a message mends better than a traceback
Main = Callable[..., int]  # (arguments=None) -> exit status; None: those of the process


def command(body: Callable[[Sequence[str]], None]) -> Main:
    """The `main` of a command: errors that the user can mend are a line on stderr, and the exit status tells."""

    @functools.wraps(body)
    def main(arguments: Sequence[str] | None = None) -> int:
        usual = _end_at_second_interrupt()
        if os.environ.get("HOME") == "":  # ~ would be the root folder; without HOME it is what the system knows
            del os.environ["HOME"]
        try:
            body(sys.argv[1:] if arguments is None else list(arguments))
            sys.stdout.flush()  # here, where a pipe that is closed is expected
        except SystemExit as stop:  # of help
            return int(stop.code or 0)
        except KeyboardInterrupt:
            return _fail("interrupted.", INTERRUPTED)
        except BrokenPipeError:  # `glowdiff configs | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python fails at flushing it
            return 1
        except Exception as error:
            message = peers.lost(error) or _worded(error)
            if not message:
                raise
            return _fail(message)
        finally:
            if usual is not None:
                signal.signal(signal.SIGINT, usual)
        return 0

    return main


def _worded(error: Exception) -> str:
    """An error that a person can mend, in words; empty for others, whose traceback says more."""
    if isinstance(error, OSError):  # a full disk, a folder that nobody may read
        return f"{error.filename or 'a file'}: {error.strerror or error}"
    return str(error) if isinstance(error, USER_ERRORS) else ""


def initialize(workdir: str | None = None) -> None:
    """Join the other processes of a pod or cluster, if there are any, and switch the compilation cache on.

    Of several processes only the first writes to it, so theirs is in the workdir, which all of them read.
    """
    logging.set_verbosity(logging.WARNING)  # the libraries below chat at INFO
    peers.join()
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    if workdir is not None and jax.process_count() > 1:
        jax.config.update("jax_compilation_cache_dir", os.fspath(epath.Path(workdir) / "xla"))
    elif os.environ.get("HOME", "~"):
        jax.config.update("jax_compilation_cache_dir", expanded("the compilation cache", "~/.cache/glowdiff/xla"))


def _end_at_second_interrupt() -> Any:
    """Let Ctrl-C raise once, and end the process the second time, for callbacks of JAX swallow what is raised in them.

    Returns:
      the handler that was there; None: it stays, for it is another one, or this is no main thread.
    """
    usual = signal.getsignal(signal.SIGINT)
    if usual is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        return None

    def once(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
        signal.default_int_handler(number, frame)

    return signal.signal(signal.SIGINT, once)


def _fail(message: str, status: int = 1) -> int:
    """One line, whatever stands in names of files."""
    print(f"error: {printable(' '.join(message.splitlines()))}", file=sys.stderr)
    return status
