"""Measure a GPU in so many minutes: `python benchmarks/gpu.py --minutes=8`.

What is measured, and what was published beside it, is the list below; each result is saved at once, as JSON and as a
Markdown table beside it. A measurement that fails, or for which no time is left, is recorded as such. benchmarks/README
says what a machine needs for it. FLOPs are the model's, counted on the jaxpr without recomputation.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import flax
import jax

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.chip import ceilings, peer
from benchmarks.chip.drawing import Glide, GuidedStep
from benchmarks.chip.heaviest import Profile
from benchmarks.chip.plan import Measurement, Plan
from benchmarks.chip.setting import Setting
from benchmarks.chip.settings import PUBLISHED, SMALL_UNET, configuration
from benchmarks.chip.table import markdown
from benchmarks.chip.training import TrainStep
from benchmarks.report import replace_section

ROOT = Path(__file__).resolve().parents[1]
TITLES = {
    "adm64": "ADM-64, train step as published, nothing recomputed",
    "adm64_128": "the same, twice the batch",
    "adm64_remat": "ADM-64, train step as configured (`model.network.remat`)",
    "adm64_compared": "ADM-64, train step, simple loss, no dropout",
    "diffusers": "the same network and loss, diffusers, `torch.compile`",
    "glow64_unroll1": "Glow ImageNet-64, train step as configured, `model.unroll=1`",
    "glow64_unroll2": "the same, `model.unroll=2`",
    "glow64_unroll4": "the same, `model.unroll=4`",
    "glow64_unroll8": "the same, `model.unroll=8`",
    "glow64_plain1": "the same, `model.memory=plain`, `model.unroll=1`",
    "glow64_plain8": "the same, `model.memory=plain`, `model.unroll=8`",
    "glide_original": "GLIDE, a picture of 256x256, 100 + 27 steps",
    "glide_dpmpp": "GLIDE, a picture of 256x256, 20 + 10 steps of DPM-Solver++",
    "glide_original8": "GLIDE, 8 pictures at a time, 100 + 27 steps",
    "adm256_guided": "ADM-256, a denoising step guided by its classifier",
    "adm256": "ADM-256, a denoising step without guidance",
    "small_unet": "UNet of 9.9M parameters at 64x64, train step",
}


def measurements(setting: Setting, folder: Path | None) -> list[Measurement]:
    """All of them: groups by value; in the first, PyTorch is timed first and ends, to leave all memory to XLA."""
    toy, published = setting.toy, PUBLISHED
    keep: dict[str, Any] = {"network__remat": False}
    adm = TrainStep("adm64", configuration(published["adm/imagenet64"], toy=toy, batch=64, **keep), setting)
    remat = TrainStep("adm64_remat", configuration(published["adm/imagenet64"], toy=toy, batch=64), setting)
    compared = TrainStep("adm64_compared", peer.compared(64, toy=toy), setting)
    small = TrainStep("small_unet", configuration(SMALL_UNET, toy=toy, batch=16), setting)
    other = peer.Peer(64, lambda: compared.flops, setting)

    def profile(name: str, **of: TrainStep) -> Measurement:
        traced = Profile(of, setting, folder)
        return Measurement(name, traced.prepare, traced.measure, 0, "", 0, 15)

    def train(name: str, step: TrainStep, group: int, after: str = "", preparing: float = 120) -> Measurement:
        return Measurement(name, step.prepare, step.measure, group, after, preparing, 8)

    def flow(name: str, **model: Any) -> TrainStep:
        return TrainStep(name, configuration(published["glow/imagenet64"], toy=toy, batch=64, **model), setting)

    def glow(name: str, group: int, after: str = "", **model: Any) -> Measurement:
        return train(name, flow(name, **model), group, after, 90)

    def glide(name: str, plan: str, batch: int, group: int) -> Measurement:
        drawing = Glide(plan, batch, setting)
        return Measurement(name, drawing.prepare, drawing.measure, group, "", 75, 15)

    unroll1 = flow("glow64_unroll1", unroll=1)
    guided, bare = (GuidedStep(8, setting, guided=guided) for guided in (True, False))
    big = TrainStep("adm64_128", configuration(published["adm/imagenet64"], toy=toy, batch=128, **keep), setting)
    return [
        Measurement("diffusers", other.prepare, other.measure, 0, "", 120, 15),
        train("adm64", adm, 0),
        train("glow64_unroll1", unroll1, 0, "", 90),
        profile("profile_glow64", glow64_unroll1=unroll1),
        glide("glide_original", "original", 1, 0),
        train("adm64_remat", remat, 0, "adm64"),
        train("adm64_compared", compared, 0, "adm64"),
        profile("profile", adm64=adm, adm64_remat=remat),
        Measurement("adm256_guided", guided.prepare, guided.measure, 0, "", 90, 8),
        train("small_unet", small, 0, "", 60),
        profile("profile_small_unet", small_unet=small),
        glow("glow64_unroll4", 0, "glow64_unroll1", unroll=4),
        glow("glow64_unroll2", 1, unroll=2),
        glow("glow64_unroll8", 1, unroll=8),
        glide("glide_dpmpp", "dpmpp_2m", 1, 1),
        glow("glow64_plain1", 1, memory="plain", unroll=1),
        glow("glow64_plain8", 1, memory="plain", unroll=8),
        glide("glide_original8", "original", 8, 1),
        train("adm64_128", big, 1),
        Measurement("adm256", bare.prepare, bare.measure, 1, "", 60, 8),
    ]


class Record:
    """The file that results are kept in."""

    def __init__(self, path: Path, machine: dict[str, Any]) -> None:
        """What other measurements have left in `path`, of the same device, stays."""
        self._path, self.result = path, {"machine": machine, "titles": TITLES, "rows": {}}
        if path.exists():
            before = json.loads(path.read_text())
            if before["machine"]["device"] == machine["device"]:
                self.result["rows"] = before["rows"]

    def add(self, name: str, row: dict[str, Any]) -> None:
        """Save a row, and the table with it."""
        rows = self.result["rows"] | {name: row}
        order = ["ceilings", *TITLES, "profile", "profile_glow64", "profile_small_unet"]
        self.result["rows"] = {key: rows[key] for key in sorted(rows, key=order.index)}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self.result, indent=1) + "\n")
        self._path.with_suffix(".md").write_text(markdown(self.result))


def machine(setting: Setting) -> dict[str, Any]:
    """What the figures are of."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        card = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        card = None
    versions = {"jax": jax.__version__, "flax": flax.__version__}
    return {
        "device": setting.device.device_kind,
        "card": card,
        "cores": os.cpu_count(),
        "versions": versions,
        "date": time.strftime("%Y-%m-%d"),
        "toy": setting.toy,
    }


def main() -> None:
    """Measure, save, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=8, help="in all, compiling included")
    parser.add_argument("--out", type=Path, help="a .json file; default: docs/data/gpu/DEVICE.json")
    parser.add_argument("--only", default="", help="names, with commas between them; the file keeps its other rows")
    parser.add_argument("--results", type=Path, help="a Markdown file whose section of this device is replaced")
    parser.add_argument("--keep", type=Path, help="a folder for the program that is profiled, as text, and its trace")
    parser.add_argument("--toy", action="store_true", help="at toy size, to try this script on a CPU")
    args = parser.parse_args()
    # PyTorch needs memory of the same GPU; and what XLA may take is most of it.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("XLA_CLIENT_MEM_FRACTION", "0.93")
    setting = Setting(args.toy)
    name = re.sub(r"\W+", "_", setting.device.device_kind.lower())
    record = Record(args.out or ROOT / "docs" / "data" / "gpu" / f"{name}.json", machine(setting))
    plan = Plan(args.minutes, record.add)
    wanted = args.only.split(",") if args.only else None
    try:
        plan.run([Measurement("ceilings", lambda: [], lambda _: ceilings.measure(setting), preparing=0)])
        chosen = measurements(setting, args.keep)
        plan.run([each for each in chosen if wanted is None or each.name in wanted])
    finally:
        for process in setting.processes:
            process.kill()
    table = markdown(record.result)
    if args.results:
        replace_section(args.results, f"gpu {name}", table)
    print(table, flush=True)
    os._exit(0)  # compilers that were given up may still be at work, and nothing ends them


if __name__ == "__main__":
    main()
