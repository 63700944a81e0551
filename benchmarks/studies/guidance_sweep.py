"""What guidance gains in agreement and costs in diversity, classifier-free and by CLIP (as Nichol et al., 2021).

`python benchmarks/studies/guidance_sweep.py --base=runs/glide_openmoji --clip=runs/clip --judge=runs/clip_judge`: the
same noise and the same training captions at each scale of either guidance. Classifier-free guidance of scale 1 and CLIP
guidance of scale 0 are both the model without any. The judge, a CLIP of another seed, says how near pictures are to
their captions, how far pictures of one caption are from each other, and how far all are from the test pictures. Scales
are traced: either guidance is compiled once. Writes OUT.png, OUT.md and OUT.json.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import glowdiff
from benchmarks.main import run_main
from benchmarks.report import write_report
from benchmarks.studies.ablation import plots
from benchmarks.studies.emoji import TRAINING, Emoji, emoji_of
from benchmarks.studies.judge import Judge, agreement, diversity, kernel_distance
from benchmarks.studies.tones import tone_accuracy
from glowdiff.cli.main import initialize

_BASE = flags.DEFINE_string("base", None, "A run of configs/glide/openmoji32_cpu.py or its like.", required=True)
_CLIP = flags.DEFINE_string("clip", None, "A run of the CLIP that guides.", required=True)
_JUDGE = flags.DEFINE_string("judge", None, "A run of a CLIP that guides nothing.", required=True)
_SCALES = flags.DEFINE_list("scales", ["1", "1.5", "2", "3", "5", "8"], "Of classifier-free guidance.")
_CLIP_SCALES = flags.DEFINE_list("clip_scales", ["0", "0.25", "0.5", "1", "2", "5"], "Of CLIP guidance.")
_PROMPTS = flags.DEFINE_integer("prompts", 32, "Captions.", lower_bound=1)
_EACH = flags.DEFINE_integer("each", 4, "Pictures of each caption.", lower_bound=2)
_BATCH = flags.DEFINE_integer("batch", 32, "Pictures at a time.", lower_bound=1)
_OUT = flags.DEFINE_string("out", "runs/guidance_sweep", "Files to write, without their endings.")

FREE, BY_CLIP = "classifier-free", "CLIP"


def main(argv: list[str]) -> None:
    """Draw, judge, write."""
    del argv
    initialize()
    plots.check_available()
    model, guide, judge = glowdiff.load(_BASE.value), glowdiff.load(_CLIP.value), Judge(glowdiff.load(_JUDGE.value))
    emoji = emoji_of(model)
    sweeps: dict[str, list[tuple[float, dict[str, Any]]]] = {
        FREE: [(scale, {"guidance_scale": scale}) for scale in map(float, _SCALES.value)],
        BY_CLIP: [
            (scale, {"guidance_scale": 1.0, "guides": [(guide, scale)]}) for scale in map(float, _CLIP_SCALES.value)
        ],
    }
    rows = measure(model, judge, emoji, sweeps)
    shown = ("scale", "cosine", "diversity", "distance to test")
    lines = {name: [tuple(row[key] for key in shown) for row in rows if row["guidance"] == name] for name in sweeps}
    out = Path(_OUT.value)
    plots.trade_off(out.with_suffix(".png"), "OpenMoji: agreement and diversity, by the judge", lines)
    title = (
        f"{_PROMPTS.value} training captions, {_EACH.value} pictures each; step {model.step:,}, "
        f"{model.config.sampling.sampler}, {model.config.sampling.steps} steps"
    )
    write_report(out, {title: rows}, {"step": model.step, "rows": rows})


def measure(
    model: glowdiff.Model, judge: Judge, emoji: Emoji, sweeps: dict[str, list[tuple[float, dict[str, Any]]]]
) -> list[dict[str, Any]]:
    """A row per scale, and one of the real pictures."""
    captions = emoji.some(TRAINING, _PROMPTS.value)
    z_captions, own = judge.captions(list(emoji.rows)), np.array([emoji.rows[caption] for caption in captions])
    test = emoji.dataset.test
    z_test = judge.images(np.stack([test[row]["image"] for row in range(len(test))]))
    colours, real = emoji.colours(), emoji.pictures(captions)
    prompts, owns = np.repeat(captions, _EACH.value).tolist(), np.repeat(own, _EACH.value)
    batch = min(_BATCH.value, len(prompts))

    def row(guidance: str, scale: float | None, images: np.ndarray, texts: Any, rows: np.ndarray) -> dict[str, Any]:
        z = judge.images(images)
        several = len(rows) > len(captions)
        return {
            "guidance": guidance,
            "scale": scale,
            **agreement(z, z_captions, rows),
            "right tone": tone_accuracy(images, texts, colours)["right tone"],
            "diversity": diversity(z.reshape(len(captions), -1, z.shape[-1])) if several else None,
            "distance to test": kernel_distance(z, z_test),
        }

    rows = []
    for guidance, sweep in sweeps.items():
        for scale, options in sweep:
            start = time.perf_counter()
            images = model.sample(jax.random.key(0), len(prompts), prompt=prompts, batch=batch, **options)
            print(f"{guidance} {scale:g}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
            rows.append(row(guidance, scale, images, prompts, owns))
    return [*rows, row("real pictures", None, real, captions, own)]


if __name__ == "__main__":
    run_main(main)
