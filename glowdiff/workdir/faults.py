"""What can be wrong with a checkpoint: it is damaged, it cannot be read just now, or it is not what was asked for."""

from __future__ import annotations

import errno
import re

# Of a file that is not there, or not a file: what should be in a step is not, and trying again brings nothing.
_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG}
_MISSING_TYPES = (FileNotFoundError, NotADirectoryError, IsADirectoryError)  # of libraries, often without a number
# How TensorStore says that a store cannot be reached, or that the system refused.
_UNREACHABLE = re.compile(r"^(UNAVAILABLE|DEADLINE_EXCEEDED|ABORTED|PERMISSION_DENIED|UNAUTHENTICATED|CANCELLED)\b")
_SYSTEM = re.compile(r"OS error (\d+)")


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written, or cannot be read into what was asked for."""


class DamagedError(Exception):
    """What is stored is not what was saved."""


class UnreadableError(Exception):
    """The disk or the store could not be read, which says nothing of what is stored there."""


def is_unreadable(error: BaseException) -> bool:
    """Whether an error of reading blames the disk, the network or the rights, and not the files.

    >>> is_unreadable(OSError(errno.EIO, "Input/output error")), is_unreadable(FileNotFoundError(errno.ENOENT, "a"))
    (True, False)
    """
    if isinstance(error, OSError):
        return error.errno not in _MISSING and not isinstance(error, _MISSING_TYPES)
    text = str(error)
    number = _SYSTEM.search(text)
    return bool(_UNREACHABLE.match(text)) or (number is not None and int(number[1]) not in _MISSING)


def not_read(folder: object, error: UnreadableError) -> CheckpointError:
    """What to say of a step that could not be read."""
    return CheckpointError(
        f"{folder} could not be read: {error}. That says nothing of what is stored there, so nothing was changed; the "
        "same command may do once the disk or the store answers."
    )


def first_line(error: BaseException) -> str:
    """The part of an error's message that fits into a message of ours."""
    lines = str(error).strip().splitlines()
    text = lines[0][:300] if lines else ""
    return text if isinstance(error, DamagedError) else f"{type(error).__name__}: {text}"
