"""Seconds for a picture of 256x256 pixels with the published sizes of GLIDE: `python benchmarks/glide_seconds.py`.

The base (385M parameters, configs/glide/base64.py) and the upsampler (398M, configs/glide/upsample64_256.py), with
random weights in bfloat16, as the original samples (Nichol et al., 2021): 100 ancestral steps of the guided base, 27
steps of DDIM of the upsampler from noise of deviation 0.997; and with 20 and 10 steps of DPM-Solver++. The small
pictures stay on the device. FLOPs are the model's, counted on the jaxpr, where loops have their length; their share is
of the chip's published rate of dense products in bfloat16, and of the rate that the same device shows in this run. The
original's 15 seconds for a picture are of one A100.

On a CPU: `--size=tiny` runs all of it at toy size, and `--flops` only counts, at full size.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import glide_programs
from benchmarks.datasheet import A100, datasheet_peak
from benchmarks.flops import jaxpr_flops
from benchmarks.glide_programs import PLANS, PUBLISHED_SECONDS, Stage, calls, draw
from benchmarks.main import run_main
from benchmarks.random_weights import random_weights
from benchmarks.report import text, write_report
from benchmarks.timing import matmul_peak, seconds_of
from glowdiff.catalog.parse import parse
from glowdiff.cli.main import initialize
from glowdiff.config.sections import MeshConfig
from glowdiff.sharding import make_mesh

_SIZE = flags.DEFINE_enum("size", "full", ["full", "tiny"], "tiny: to try this script on a CPU.")
_FLOPS = flags.DEFINE_bool("flops", False, "Count only; nothing is compiled.")
_PLANS = flags.DEFINE_multi_enum("plan", list(PLANS), list(PLANS), "How to sample.")
_BATCHES = flags.DEFINE_list("batches", ["1", "16"], "Pictures at a time.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Calls that are timed, after one that is not.", lower_bound=1)
_WEIGHTS = flags.DEFINE_enum("weights", "bfloat16", ["bfloat16", "float32"], "How weights lie in memory.")
_OUT = flags.DEFINE_string("out", "runs/glide_seconds", "Files to write, without their endings.")

_TINY = {
    "channels": 32, "channel_mult": "1,1,1,1", "res_blocks": 1, "attention": "8", "head_channels": 16,
    "vocab_size": 300, "text_context": 16, "text_width": 32, "text_layers": 1, "text_heads": 2,
}  # fmt: skip


def main(argv: list[str]) -> None:
    """Count, compile, time, print."""
    del argv
    initialize()
    stages, device = (stage("base64"), stage("upsample64_256")), jax.devices()[0]
    known = datasheet_peak(device.device_kind)
    facts: dict[str, Any] = {"device": device.device_kind, "size": _SIZE.value, "weights": _WEIGHTS.value}
    for name, each in zip(("base", "upsampler"), stages, strict=True):
        leaves = jax.tree.leaves(each.variables["params"])
        count = sum(leaf.size for leaf in leaves)
        facts |= {f"{name}, parameters": count, f"{name}, bytes of them": count * leaves[0].dtype.itemsize}
    rates: dict[str, float | None] = {}
    weights: list[Any] = [each.variables for each in stages]
    if not _FLOPS.value:
        rates = {"published": known, "shown": matmul_peak(make_mesh(MeshConfig(), [device]), "bfloat16")}
        facts |= {f"TFLOP/s, {name}": rate and round(rate / 1e12, 4) for name, rate in rates.items()}
        weights = [random_weights(each.variables) for each in stages]
    batches = [int(batch) for batch in _BATCHES.value]
    rows = [measure(plan, batch, stages, weights, rates) for plan in _PLANS.value for batch in batches]
    if _SIZE.value == "full":
        for row in [row for row in rows if row["sampling"] == "original"][:1]:
            rows.append(dict.fromkeys(rows[0]) | published(row["TFLOPs per picture"]))
    facts["device's peak bytes"] = (device.memory_stats() or {}).get("peak_bytes_in_use")
    table = [{"": key, "value": text(value)} for key, value in facts.items()]
    title = f"Pictures of {stages[1].config.data.size} pixels' side; seconds are medians of {_ROUNDS.value}:"
    write_report(Path(_OUT.value), {"GLIDE, published sizes:": table, title: rows}, facts | {"rows": rows})


def published(teraflops: float) -> dict[str, Any]:
    """What the original says of itself, and which share of an A100 that is."""
    share = 1e12 * teraflops / (PUBLISHED_SECONDS * A100)
    shown = {"TFLOPs per picture": teraflops, "s per picture": PUBLISHED_SECONDS, "of published rate": share}
    return {"sampling": "the original's own, an A100", "batch": 1, **shown}


def stage(name: str) -> Stage:
    """A configuration of configs/glide, built for captioned pictures that need not be there."""
    settings = import_module(f"configs.glide.{name}").get_config()
    if _SIZE.value == "tiny":
        settings.data.size //= 4
        settings.model.update(**_TINY)
        if settings.model.low_res is not None:
            settings.model.low_res //= 4
    settings.dtype, settings.model.network.remat = "bfloat16", False  # nothing is trained here
    return glide_programs.stage(parse(settings), _WEIGHTS.value)


def measure(
    plan: str, batch: int, stages: tuple[Stage, Stage], weights: list[Any], rates: dict[str, float | None]
) -> dict[str, Any]:
    """A row of the table: one call draws `batch` small pictures and enlarges them."""
    made = calls(plan, batch, stages, weights)
    traced = [call.trace() for call in made]
    flops = [round(jaxpr_flops(each.jaxpr)) for each in traced]
    row = {
        "sampling": plan,
        "steps": " + ".join(choices["steps"] for choices in PLANS[plan]),
        "batch": batch,
        "base, TFLOPs per picture": flops[0] / batch / 1e12,
        "TFLOPs per picture": sum(flops) / batch / 1e12,
    }
    if _FLOPS.value:
        return row | {"s per picture": None, "of published rate": None}
    start = time.perf_counter()
    compiled = [each.lower().compile() for each in traced]
    print(f"{plan}, batch {batch}: compiled in {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)

    jax.block_until_ready(draw(compiled, made, weights))
    seconds = [
        float(np.median(seconds_of(partial(draw, compiled, made, weights, enlarge=enlarge), _ROUNDS.value)))
        for enlarge in (False, True)
    ]
    shares = {f"of {name} rate": rate and sum(flops) / seconds[1] / rate for name, rate in rates.items()}
    return row | {
        "base, s": seconds[0],
        "both, s": seconds[1],
        "s per picture": seconds[1] / batch,
        **shares,
    }


if __name__ == "__main__":
    run_main(main)
