"""Parts of a model that vary independently: sub-sections of `model`, each a dataclass found by its name in a table.

A new part is a dataclass beside the code that it configures, and a row in the table of its kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True)
class Part:
    """What all parts have; `name` is that of the row in their table."""

    # Values of other sections, by dotted key, with which a configuration of this part starts.
    settings: ClassVar[Mapping[str, Any]] = {}

    name: str

    @property
    def frozen_workdir(self) -> str | None:
        """The workdir of the model that it is, and that is not trained with this one; None: it is no other model."""
        return None

    def check(self, key: str) -> None:
        """Raise `ConfigError` for impossible values; `key` is the sub-section's, such as `model.network`."""


def part(table: Mapping[str, type[Part]], default: str) -> Any:
    """A field of a `model` section that holds one of the parts of a table.

    Args:
      table: the dataclasses by their names.
      default: the name of the one that a configuration starts with.
    """
    return field(default_factory=lambda: table[default](default), metadata={"parts": table})
