"""`glowdiff COMMAND`, or `python -m glowdiff COMMAND`: one module per command, imported when it is asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from glowdiff.cli.words import overview
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
    return importlib.import_module(f"glowdiff.cli.{name.replace('import', 'import_')}").main(rest)


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
    sys.exit(main())
