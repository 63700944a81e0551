"""`glowdiff import`: a workdir from published weights."""

from __future__ import annotations

from collections.abc import Sequence

from glowdiff.cli.main import command
from glowdiff.importers import command as importers


@command
def main(arguments: Sequence[str]) -> None:
    """Parse, and call the package."""
    raise SystemExit(importers.main(list(arguments)))
