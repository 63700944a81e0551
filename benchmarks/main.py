"""How benchmarks and studies, whose flags are absl's, are run."""

from __future__ import annotations

import sys
from collections.abc import Callable

from absl import app

from glowdiff.cli.main import USER_ERRORS


def run_main(main: Callable[[list[str]], None]) -> None:
    """`absl.app.run`, with a line instead of a traceback for errors that the user can mend."""

    def guarded(argv: list[str]) -> None:
        try:
            main(argv)
        except USER_ERRORS as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)

    app.run(guarded)
