"""The tables of docs/pods.md, made of the records alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from benchmarks.datasheet import TPU_CHIPS
from benchmarks.pods.every import FOLDER
from benchmarks.pods.published import published
from benchmarks.pods.record import Record, load, program
from benchmarks.pods.roofline import images_per_second, roofline, utilisation
from benchmarks.report import replace_section

PAGE = Path("docs/pods.md")
SECTION = "pods"
_KINDS = {"train": "Train steps", "sampler": "Samplers"}
_COLLECTIVES = ("all-gather", "reduce-scatter", "all-reduce")


def write(root: Path) -> None:
    """Replace the page's section by tables of the records that there are."""
    replace_section(root / PAGE, SECTION, tables(load(root / FOLDER)))


def tables(records: Iterable[Record]) -> str:
    """Markdown: for each slice a table of train steps and one of samplers, in the order of `published`."""
    places = {each.file: place for place, each in enumerate(published())}
    ordered = sorted(records, key=lambda record: places.get(program(record).file, len(places)))
    parts = []
    for topology in dict.fromkeys(record["topology"] for record in ordered):
        for kind, heading in _KINDS.items():
            rows = [row(each) for each in ordered if (each["topology"], each["program"]) == (topology, kind)]
            if rows:
                parts += [f"### {heading} on {topology}", _markdown(rows)]
    return "\n\n".join(parts)


def row(record: Record) -> dict[str, str]:
    """A program's cells by column; of one that does not fit, or was not compiled, what is known."""
    flags = (f"{key.rpartition('.')[2]}={value}" for key, value in record["settings"].items())
    cells = {"configuration": " ".join([record["config"], *flags])}
    if record["fits"] is None:
        return {**cells, "temporaries, GiB": record["failure"]}
    cells |= {
        "parameters": f"{record['parameters'] / 1e6:,.0f}M",
        "images": f"{record['batch']:,}",
        "TFLOP": _digits(record["flops"] / 1e12),
        "tiles": f"{record['tiled_flops'] / record['flops']:.2f}",
        "compiled in, s": f"{record['compile_seconds']:.0f}",
    }
    if not record["fits"]:
        sizes = re.search(r"\(([\d.]+)G\) exceeds available HBM \(([\d.]+)G\)", record["needs"])
        return {**cells, "temporaries, GiB": f"{sizes[1]} of {sizes[2]}: does not fit" if sizes else "does not fit"}
    chip = TPU_CHIPS[record["device"]]
    times = roofline(record, chip)
    sums = (sum(each["bytes"] for each in record["collectives"] if each["collective"] == kind) for kind in _COLLECTIVES)
    return cells | {
        "arguments, GiB": _gibibytes(record["argument_bytes"]),
        "temporaries, GiB": _gibibytes(record["temporary_bytes"]),
        "moved, GiB": _gibibytes(record["hbm_bytes"]),
        "gathered / scattered / summed, GiB": " / ".join(map(_gibibytes, sums)),
        **{f"{name}, s": _bold(seconds, times.seconds) for name, seconds in times._asdict().items()},
        "MFU at most": f"{utilisation(record, chip):.0%}",
        "images/s at most": _digits(images_per_second(record, chip)),
    }


_COLUMNS = (
    "configuration", "parameters", "images", "arguments, GiB", "temporaries, GiB", "TFLOP", "moved, GiB",
    "gathered / scattered / summed, GiB", "products, s", "memory, s", "links, s", "MFU at most", "images/s at most",
    "tiles", "compiled in, s",
)  # fmt: skip


def _markdown(rows: list[dict[str, str]]) -> str:
    """Rows of different columns, with - where one has none."""
    lines = [list(_COLUMNS), ["---", *["--:"] * (len(_COLUMNS) - 1)]]
    lines += [[cells.get(column, "-") for column in _COLUMNS] for cells in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _bold(seconds: float, longest: float) -> str:
    return f"**{_digits(seconds)}**" if seconds == longest else _digits(seconds)


def _gibibytes(count: float) -> str:
    return _digits(count / 2**30)


def _digits(value: float) -> str:
    """Three digits, and no more than three decimals."""
    decimals = 0 if value >= 100 or value == 0 else 1 if value >= 10 else 2 if value >= 0.1 else 3
    return f"{value:,.{decimals}f}"
