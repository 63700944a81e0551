"""What is kept of a compiled program: a file of JSON, read by people and by the page."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.datasheet import TPU_CHIPS
from benchmarks.pods.published import Program
from benchmarks.pods.roofline import images_per_second, roofline, utilisation
from benchmarks.report import mebibytes

Record = dict[str, Any]


def head(kind: str, config: str, settings: Mapping[str, Any], topology: str, effort: str | None) -> Record:
    """Which program, and what compiled it."""
    return {
        "program": kind,
        "config": config,
        "settings": dict(settings),
        "topology": topology,
        "effort": effort,
        **{name: _version(name) for name in ("jax", "libtpu")},
    }


def _version(package: str) -> str | None:
    """Of an installed package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def program(record: Mapping[str, Any]) -> Program:
    """Which program a record is of."""
    return Program(record["program"], record["config"], record["settings"], record["topology"])


def config_name(path: str) -> str:
    """`adm/imagenet256` of the path of its file."""
    parts = Path(path).with_suffix("").parts
    return "/".join(parts[-2:])


def save(path: Path, record: Record) -> None:
    """Write a record, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(record, indent=1) + "\n")
    new.replace(path)


def load(folder: Path) -> list[Record]:
    """All records below a folder, by the names of their files."""
    return [json.loads(path.read_text()) for path in sorted(folder.rglob("*.json"))]


def title(record: Record) -> str:
    """A line that names the program."""
    name = "train step" if record["program"] == "train" else "sampler"
    flags = "".join(f" --config.{key}={value}" for key, value in record["settings"].items())
    where = f"{record['topology']}, mesh {record['mesh']}"
    return f"{record['config']}{flags}: {name} of {record['batch']} images on {where}"


def facts(record: Record) -> dict[str, Any]:
    """Its figures per device, for people."""
    flops = {
        "parameters": record["parameters"],
        "FLOPs, recomputation included": record["flops"],
        "FLOPs of the model": record["model_flops"],
        "compiled in": f"{record['compile_seconds']} s",
    }
    if not record["fits"]:
        return {**flops, "does not fit": record["needs"]}
    sizes = {
        "arguments": mebibytes(record["argument_bytes"]),
        "outputs (not reusing arguments)": mebibytes(record["output_bytes"]),
        "temporaries": mebibytes(record["temporary_bytes"]),
        "moved in memory, at least": mebibytes(record["hbm_bytes"]),
        "sent": mebibytes(sum(row["sent"] for row in record["collectives"])),
        "factorisations, solves and inverses in loops": ", ".join(record["dense_algebra_in_loops"]) or "none",
    }
    chip = TPU_CHIPS.get(record["device"])
    if chip is None:
        return {**flops, **sizes}
    times = roofline(record, chip)
    return {
        **flops,
        **sizes,
        "tiles of the matrix unit filled up": f"{record['tiled_flops'] / record['flops']:.2f} times the products",
        **{f"seconds at least, by {name}": seconds for name, seconds in times._asdict().items()},
        "images/s at most": images_per_second(record, chip),
        "MFU at most": f"{utilisation(record, chip):.0%}",
    }
