"""What the commands are asked to draw in words: one prompt, several, or a file of them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import jax

from glowdiff.data import dataset as datasets
from glowdiff.errors import ConfigError, require
from glowdiff.files import read_text
from glowdiff.method import context
from glowdiff.metrics.drawn import shuffled
from glowdiff.trained import Trained


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


def of_test_set(model: Trained, workdir: str) -> list[str]:
    """The captions of what a model was tested on, shuffled.

    Args:
      model: of the workdir,
      workdir: as typed, for messages.

    Raises:
      ConfigError: the data set is not here, or has no captions.
    """
    instead = "Give --prompts=FILE, or --prompt."
    try:
        test = datasets.load(model.config.data).test
    except ConfigError as error:
        raise ConfigError(
            f"--workdir is {workdir}, of whose test set the captions are to be prompts, but it cannot be read: "
            f"{error} {instead}"
        ) from error
    captions = list(test.captions or ())
    require(bool(captions), f"--workdir is {workdir}, whose test set has no captions that could be prompts. {instead}")
    return [captions[row] for row in shuffled(len(captions))]


def fitting(prompts: Sequence[str], readers: Iterable[Trained]) -> list[str]:
    """Captions of a data set, cut as in training where they are too long for one of those that read them."""
    found = list(prompts)
    for reader in readers:
        length = context(reader.method.takes)
        if length and reader.tokenizer is not None:
            found = [reader.tokenizer.shortened(prompt, length) for prompt in found]
    cut = sum(one != other for one, other in zip(found, prompts, strict=True))
    if cut and jax.process_index() == 0:
        print(
            f"{cut:,} of the {len(found):,} captions are longer than what the model reads, and were cut.",
            file=sys.stderr,
        )
    return found


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
