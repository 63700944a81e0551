"""Glow's ablations at a size for two CPU cores: `python benchmarks/studies/ablations.py FIGURE`, one of four.

permutation: reverse, shuffle and 1x1 convolution, additive and affine (Glow, figure 3). models: NICE, RealNVP and Glow
with as many parameters (Glow, table 2). depth: L = 2, 3, 4, with K steps per level each. temperature: samples of the
affine Glow with 1x1 convolutions (Glow, figure 8).

Every run is an ordinary workdir under --out, trained by the package's own loop. A figure takes the runs that it finds
there, so an interrupted one goes on and figures share runs. It writes data/ablation_FIGURE.csv,
images/ablation_FIGURE.png and its section of results.md under --docs.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.main import run_main
from benchmarks.report import replace_section
from benchmarks.studies.ablation import plots, tables, temperature
from benchmarks.studies.ablation.runs import run_all
from benchmarks.studies.ablation.variants import CLAIMS, Scale, Variant, variants
from glowdiff.cli.main import initialize
from glowdiff.errors import require, require_choice

FIGURES = {
    "permutation": "Permutations and couplings",
    "models": "NICE, RealNVP and Glow",
    "depth": "Levels",
    "temperature": "Temperature",
}
_FLAGS = {  # of `Scale`'s fields
    "data": flags.DEFINE_string("data", Scale.data, "data.name."),
    "size": flags.DEFINE_integer("size", Scale.size, "data.size, pixels (0: the data's own).", lower_bound=0),
    "levels": flags.DEFINE_integer("levels", Scale.levels, "L, where it is not what varies.", lower_bound=1),
    "depth": flags.DEFINE_integer("depth", Scale.depth, "K, flow steps per level.", lower_bound=1),
    "width": flags.DEFINE_integer("width", Scale.width, "Hidden channels of Glow's coupling nets.", lower_bound=1),
    "batch": flags.DEFINE_integer("batch", Scale.batch, "Images per step.", lower_bound=1),
    "steps": flags.DEFINE_integer("steps", Scale.steps, "Training steps per run.", lower_bound=1),
}
_SEEDS = flags.DEFINE_integer("seeds", 3, "Seeds per variant.", lower_bound=1)
_OUT = flags.DEFINE_string("out", "runs/ablations", "Where the runs go.")
_DOCS = flags.DEFINE_string("docs", "docs", "Where CSV, picture and table go.")


def main(argv: list[str]) -> None:
    """Train what is missing, write the figure."""
    require(len(argv) == 2, f"name one figure: {', '.join(FIGURES)}.")
    figure = argv[1]
    require_choice("the figure", figure, tuple(FIGURES))
    plots.check_available()
    initialize()
    scale = Scale(**{key: flag.value for key, flag in _FLAGS.items()})
    scale = dataclasses.replace(scale, size=scale.size or None)
    curves = variants(figure, scale)
    seeds, out, docs = range(_SEEDS.value), Path(_OUT.value), Path(_DOCS.value)
    points = run_all(curves, seeds, out)
    csv, png = docs / "data" / f"ablation_{figure}.csv", docs / "images" / f"ablation_{figure}.png"
    title = f"{FIGURES[figure]}: {scale.data}, {_pixels(scale)}"
    if figure == "temperature":
        measured = temperature.measure(curves[0], seeds, out)
        tables.write_csv(csv, [*measured.rows, measured.test])
        plots.temperatures(png, title, measured.pictures, temperature.lines(measured), measured.attribution)
        table = temperature.table(measured)
    else:
        tables.write_csv(csv, points)
        plots.curves(png, title, points)
        table = tables.table(points, CLAIMS.get(figure, ()))
    text = f"`{_command(figure)}`: {describe(figure, scale, curves)}\n\n{table}\n\n![{title}](images/{png.name})"
    print(f"\n{text}")
    replace_section(docs / "results.md", f"ablation {figure}", text)
    print(f"\nWritten: {csv}, {png} and a section of {docs / 'results.md'}.")


def describe(figure: str, scale: Scale, curves: list[Variant]) -> str:
    """How the runs were made, in a sentence."""
    models, weights = f"L = {scale.levels}, K = {scale.depth} per level, width {scale.width}", "averaged weights"
    if figure == "depth":
        models = f"L as named, K = {scale.depth} per level, width {scale.width}"
    if figure == "models":
        nice, realnvp, glow = (variant.config.model for variant in curves)
        models = (
            f"NICE (depth {nice.depth}, width {nice.width}), RealNVP (levels {realnvp.levels}, depth {realnvp.depth}, "
            f"blocks {realnvp.blocks}, width {realnvp.width}), Glow (L = {glow.levels}, K = {glow.depth}, "
            f"width {glow.width})"
        )
        weights += " (RealNVP: the last, with its clipping and l2 penalty)"
    return (
        f"{scale.data} of {_pixels(scale)}, {models}; {scale.steps:,} steps of {scale.batch} images, Adam at 1e-3 with "
        f"a cosine decay, {weights}, all test images."
    )


def _pixels(scale: Scale) -> str:
    return f"{scale.size}x{scale.size} pixels" if scale.size else "its own size"


def _command(figure: str) -> str:
    changed = [f"--{key}={flag.value}" for key, flag in _FLAGS.items() if flag.value != flag.default]
    changed += [f"--seeds={_SEEDS.value}"] if _SEEDS.value != _SEEDS.default else []
    return " ".join(["python benchmarks/studies/ablations.py", figure, *changed])


if __name__ == "__main__":
    run_main(main)
