"""The table of what was measured, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.report import text

# Beside which published figure a row stands.
REFERENCES = {
    "adm64": "the paper: 41% of a V100's peak; EDM: about 70 images/s on an A100",
    "adm64_compared": "the row below, in the same run",
    "glide_original": "the original: 15 s on an A100",
    "small_unet": "Dew: 16.4 ms, 40.5% on an RTX 4080",
}
_COLUMNS = (
    "",
    "batch",
    "ms",
    "images/s",
    "TFLOP/s",
    "of shown peak",
    "of datasheet",
    "GiB",
    "compiled in, s",
    "beside",
)


def markdown(result: Mapping[str, Any]) -> str:
    """Everything of a result of `benchmarks/gpu.py`."""
    rows: Mapping[str, Any] = result["rows"]
    titles: Mapping[str, str] = result["titles"]
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    parts = [f"{machine['device']}; {versions}; {machine['date']}."]
    ceilings = rows.get("ceilings", {})
    if "tflops_per_second" in ceilings:
        parts.append(
            f"Ceilings shown in the same run: products of 8192x8192 random matrices in bfloat16 "
            f"{text(ceilings['tflops_per_second'])} TFLOP/s ({_percent(ceilings['of_datasheet'])} of the datasheet), "
            f"an elementwise pass over memory {text(ceilings['gigabytes_per_second'])} GB/s read and written."
        )
    timed = {name: row for name, row in rows.items() if "ms" in row}
    if timed:
        parts.append(_table(_COLUMNS, [_cells(name, row, titles) for name, row in timed.items()]))
    for name, row in rows.items():
        if "heaviest" in row:
            words, table = _profile(row)
            parts += [words, table] if name == "profile" else [words]  # the others' kernels are in the JSON
    missing = {name: row for name, row in rows.items() if "error" in row or "skipped" in row}
    if missing:
        lines = [f"- {titles.get(name, name)}: {row.get('error', row.get('skipped'))}" for name, row in missing.items()]
        parts.append("Not measured:\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _cells(name: str, row: Mapping[str, Any], titles: Mapping[str, str]) -> list[str]:
    size = row.get("program_bytes") or row.get("device_peak_bytes")
    return [
        titles.get(name, name),
        text(row["batch"]),
        text(round(row["ms"], 2)),
        text(row["images_per_second"]),
        text(row["tflops_per_second"]),
        _percent(row["of_shown_peak"]),
        _percent(row["of_datasheet"]),
        "-" if size is None else f"{size / 2**30:.2f}",
        text(row.get("compile_seconds")),
        "; ".join(filter(None, (REFERENCES.get(name), row.get("note")))),
    ]


def _profile(profile: Mapping[str, Any]) -> list[str]:
    shares = ", ".join(f"{label} {share:.1%}" for label, share in profile["kinds"].items())
    others = ", ".join(f"{label} {share:.1%}" for label, share in profile["parts"].items())
    busy = profile["kernels_ms"] / profile["span_ms"]
    columns = ("kernel", "kind", "runs a step", "ms a step", "share", "from")
    rows = [
        [f"`{row['kernel']}`", row["kind"], text(row["runs"]), text(row["ms"]), f"{row['share']:.1%}", row["from"]]
        for row in profile["heaviest"]
    ]
    words = (
        f"Profile of `{profile['of']}`: {text(profile['kernels_ms'])} ms of kernels in {text(profile['span_ms'])} ms a "
        f"step ({busy:.0%}), {profile['runs']:,.0f} kernels; matrix work {profile['matrix_share']:.1%}. By kind: "
        f"{shares}. What is no matrix work, by part: {others}."
    )
    return [words, _table(columns, rows)]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
