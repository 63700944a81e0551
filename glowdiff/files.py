"""Arrays in an .npz file of the user's."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from glowdiff.errors import ConfigError, require


def read_npz(path: Path, key: str, content: str, example: str) -> dict[str, np.ndarray]:
    """Return the arrays in the file at `path`, by name.

    Args:
      path: of the file.
      key: the configuration's key or the flag that names the file, for messages; so are the next two.
      content: what the file must be, such as "an .npz file of the variables".
      example: how to save one, such as "np.savez(path, images)".

    Raises:
      ConfigError: the file is missing, damaged or no .npz. Pickled objects in it are refused unread.
    """
    require(path.is_file(), f"{key} is {path}, where there is no file; it must be {content}.")
    with path.open("rb") as file:
        start = file.read(6)
    require(  # of anything else, NumPy says that it is a pickle
        start.startswith((b"PK", b"\x93NUMPY")),
        f"{key} is {path}, which is not an .npz file; save one with {example}.",
    )
    try:
        stored = np.load(path, allow_pickle=False)
        if isinstance(stored, np.ndarray):
            raise ConfigError(f"{key} is {path}, a single array; save an .npz file with {example}.")
        with stored:
            return {name: stored[name] for name in stored.files}
    except ConfigError:
        raise
    except Exception as error:
        if "pickle" in str(error) or "Object arrays" in str(error):
            raise ConfigError(
                f"{key} is {path}, which holds pickled Python objects. They can run any code when they are read, so "
                f"they are refused; save plain arrays with {example}."
            ) from error
        raise ConfigError(f"{key} is {path}, a damaged .npz file ({type(error).__name__}: {error}).") from error
