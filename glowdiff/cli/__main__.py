"""`glowdiff COMMAND`, or `python -m glowdiff COMMAND`: one module per command, imported when it is asked for."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from glowdiff.cli.words import INTERRUPTED, overview
from glowdiff.errors import did_you_mean

COMMANDS = {
    "train": "train a model, or go on",
    "sample": "draw from it",
    "evaluate": "score it on its test set",
    "edit": "edit pictures through a model: interpolate, inpaint, vary ...",
    "import": "make a workdir of published weights",
    "prepare": "read or download a data set before training",
    "configs": "list the configurations, their data and published results",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if not words or words[0] in ("--help", "-h", "help"):
        print(help_text())
        return 0 if words else 1
    name, *rest = words
    if name == "--version":
        print(importlib.import_module("glowdiff").__version__)
        return 0
    if name not in COMMANDS:
        print(f"error: glowdiff has no command {name!r}. {did_you_mean(name, COMMANDS)}", file=sys.stderr)
        return 1
    try:
        module = importlib.import_module(f"glowdiff.cli.{name.replace('import', 'import_')}")
    except KeyboardInterrupt:  # JAX takes seconds
        print("error: interrupted.", file=sys.stderr)
        return INTERRUPTED
    return module.main(rest)


def process(*words: str) -> NoReturn:
    """Run a command as this process; `words` come before its arguments. After an error nothing more is heard.

    What threads and exit handlers of libraries still have to say of a full disk or a lost checkpoint, a hundred lines
    of it, would hide the line that says what happened.
    """
    status = main([*words, *sys.argv[1:]])
    if status:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
    sys.exit(0)


def help_text() -> str:
    """What there is."""
    return overview(
        "glowdiff COMMAND ...",
        "Normalizing flows and diffusion models in JAX. See README.md.",
        COMMANDS,
        "Begin with: glowdiff train --config=glow/digits --workdir=runs/glow_digits",
        "Each command has --help.",
    )


if __name__ == "__main__":
    process()
