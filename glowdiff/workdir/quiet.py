"""What Orbax says that nobody needs to hear: only the line that says what happened should be seen."""

from __future__ import annotations

import logging as python_logging
import sys
from typing import Any

import orbax.checkpoint as ocp
from absl import logging
from etils import epath

_ORBAX = str(epath.Path(ocp.__file__).parent)
_CLOSED = "Event loop is closed"


def hush_saves() -> None:
    """Drop what Orbax says of a save, some twenty messages, and nobody else's.

    Its errors too, dozens of tracebacks on a full disk: they are raised, and said in a line of ours.
    """
    logging.get_absl_logger().addFilter(_is_of_interest)
    python_logging.getLogger("asyncio").addFilter(_is_of_others)


def unhush_saves() -> None:
    """As it was before `hush_saves`; but of tasks that failed, which may be noticed late, nothing is heard."""
    logging.get_absl_logger().removeFilter(_is_of_interest)


def hush_others() -> None:
    """Say nothing of the other arrays after one could not be read or written: there would be a traceback for each.

    Orbax closes its event loop while TensorStore's threads are still at them.
    """
    python_logging.getLogger("asyncio").addFilter(_is_of_others)
    usual = sys.unraisablehook
    if getattr(usual, "hushed", False):
        return

    def hook(unraisable: Any) -> None:
        code = getattr(unraisable.object, "cr_code", None)  # of a coroutine
        if str(unraisable.exc_value) != _CLOSED and not (code and code.co_filename.startswith(_ORBAX)):
            usual(unraisable)

    hook.hushed = True  # pyright: ignore[reportFunctionMemberAccess]
    sys.unraisablehook = hook


def _is_of_interest(record: python_logging.LogRecord) -> bool:
    return record.levelno == python_logging.WARNING or not record.pathname.startswith(_ORBAX)


def _is_of_others(record: python_logging.LogRecord) -> bool:
    return _ORBAX not in record.getMessage()
