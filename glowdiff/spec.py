"""What a data set is, to everything that does not read it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from glowdiff.errors import require


@dataclass(frozen=True)
class DataSpec:
    """The facts about a data set that shape a model; kept in a workdir's `config.json`."""

    name: str
    shape: tuple[int, int, int]  # height, width, channels
    levels: int  # pixel values are integers 0 ... levels - 1
    train_size: int
    test_size: int
    classes: tuple[str, ...] = ()  # names of the labels, in order; empty: no labels
    attributes: tuple[str, ...] = ()  # names of each image's boolean attributes, in order; empty: none
    captions: bool = False  # each image has one
    attribution: str = ""  # what the pictures' licence wants written beside them, and beside what is made from them


def spec_to_json(spec: DataSpec) -> dict[str, Any]:
    """`spec` as a dict that `json.dumps` accepts.

    >>> spec_to_json(DataSpec("digits", (8, 8, 1), 17, 1437, 360))["shape"]
    [8, 8, 1]
    """
    fields = dataclasses.asdict(spec)
    return fields | {key: list(fields[key]) for key in ("shape", "classes", "attributes")}


def spec_from_json(fields: dict[str, Any]) -> DataSpec:
    """The `DataSpec` of which `spec_to_json` made `fields`, perhaps before there were attributes and captions.

    >>> spec = DataSpec("digits", (8, 8, 1), 17, 1437, 360, classes=("0", "1"))
    >>> spec_from_json(spec_to_json(spec)) == spec
    True

    Raises:
      ConfigError: there can be no such data.
      KeyError, TypeError, ValueError, OverflowError: a value is missing or of another type.
    """
    shape = fields["shape"]
    height, width, channels = (int(side) for side in shape)
    levels, classes = int(fields["levels"]), fields["classes"]
    require(
        min(height, width, channels) > 0 and 1 < levels <= 2**16 and isinstance(classes, list) and shape == list(shape),
        f"images of {shape!r:.40} with {levels} levels and classes {classes!r:.40} cannot be.",
    )
    return DataSpec(
        name=str(fields["name"]),
        shape=(height, width, channels),
        levels=int(fields["levels"]),
        train_size=int(fields["train_size"]),
        test_size=int(fields["test_size"]),
        classes=tuple(str(name) for name in fields["classes"]),
        attributes=tuple(str(name) for name in fields.get("attributes", ())),
        captions=bool(fields.get("captions", False)),
        attribution=str(fields.get("attribution", "")),
    )
