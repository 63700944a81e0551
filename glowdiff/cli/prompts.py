"""What the commands are asked to draw in words: one prompt, several, or a file of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from glowdiff.errors import ConfigError, require
from glowdiff.files import read_text


def read_prompts(given: Sequence[str] | None, file: str | None) -> list[str]:
    """The prompts of `--prompt`, which may be repeated, or of `--prompts=FILE`, one per line; none: [].

    Raises:
      ConfigError: both are given, a prompt is empty, or the file is missing, empty or no text.
    """
    require(not given or file is None, "--prompt and --prompts are both given; give one of them.")
    for prompt in given or ():
        require(bool(prompt.strip()), "--prompt is empty; to draw without a caption, leave it out.")
    return _lines(file) if file is not None else list(given or ())


def in_turns(prompts: Sequence[str], n: int) -> list[str]:
    """The prompts of n images: one after the other, then from the first on; none of none.

    >>> in_turns(["a red heart", "flag of Japan"], 3)
    ['a red heart', 'flag of Japan', 'a red heart']
    """
    return [prompts[i % len(prompts)] for i in range(n if prompts else 0)]


def _lines(file: str) -> list[str]:
    path = Path(file)
    require(path.exists(), f"--prompts is {file}, which is no file; it must be a text file with one prompt per line.")
    try:
        text = read_text(path)
    except OSError as error:
        raise ConfigError(f"--prompts is {file}, which cannot be read ({error.strerror or error}).") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"--prompts is {file}, which cannot be read as text (UTF-8): {error}.") from error
    prompts = [line.strip() for line in text.splitlines() if line.strip()]
    require(bool(prompts), f"--prompts is {file}, which holds no prompt; it must hold one per line.")
    return prompts
