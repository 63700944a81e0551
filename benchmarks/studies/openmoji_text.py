"""Whether a text-conditional model of OpenMoji draws what it is asked for, guided and unguided.

`python benchmarks/studies/openmoji_text.py --base=runs/glide_openmoji --judge=runs/clip_judge`:
a base of configs/glide/openmoji32_cpu.py, and as a judge a CLIP of configs/glide/openmoji_clip32_cpu.py with another
seed than the one that guides (--clip, if that shall be measured too). Captions are of three kinds: training captions,
the combinations of a drawing and a skin tone that were held out, and drawings of the test set. Measured are the place
of a picture's caption among all captions, by the judge's cosine, and whether it has the skin tone that it was asked to
have, by colour; likewise whether hearts, circles, squares, books and diamonds have the colour in their caption. Real
pictures of the same captions show what both can tell, and wrong captions what chance does.
Writes OUT.png, a grid, OUT.md and OUT.json.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import glowdiff
from benchmarks.main import run_main
from benchmarks.report import write_report
from benchmarks.studies.colours import colour_accuracy, colour_of, palette
from benchmarks.studies.emoji import HELD_OUT, TRAINING, UNSEEN, Emoji, emoji_of
from benchmarks.studies.judge import Judge, agreement
from benchmarks.studies.tones import tone_accuracy
from glowdiff.cli.main import initialize
from glowdiff.pictures.files import write_png
from glowdiff.pictures.labelled import labelled_grid

_BASE = flags.DEFINE_string("base", None, "A run of configs/glide/openmoji32_cpu.py or its like.", required=True)
_JUDGE = flags.DEFINE_string("judge", None, "A run of a CLIP that guides nothing.", required=True)
_CLIP = flags.DEFINE_string("clip", None, "A run of the CLIP that guides.")
_CLIP_SCALE = flags.DEFINE_float("clip_scale", 4.0, "How strongly.")
_SCALE = flags.DEFINE_float("scale", 3.0, "Of classifier-free guidance.")
_NUM = flags.DEFINE_integer("num", 144, "Pictures of each kind of caption.", lower_bound=1)
_EACH = flags.DEFINE_integer("each", 4, "Pictures of each thing of one colour.", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch", 24, "Pictures at a time; 24 is the grid's number too.", lower_bound=1)
_OUT = flags.DEFINE_string("out", "runs/openmoji_text", "Files to write, without their endings.")

SHOWN = {
    TRAINING: (
        "blue heart", "flag of France", "grinning face", "pizza", "green square", "keycap: 5",
        "waving hand: light skin tone", "raised fist: dark skin tone", "victory hand: medium skin tone",
        "woman: light skin tone", "man: dark skin tone", "woman cook: medium-light skin tone",
    ),
    HELD_OUT: (),  # all of them
    UNSEEN: ("red heart", "flag of Japan", "green apple", "cat face", "tulip", "thumbs up: medium skin tone"),
}  # fmt: skip
ACROSS = 6  # captions beside each other
ENLARGED = 5  # times, in the grid, so that captions fit below 32 pixels


def main(argv: list[str]) -> None:
    """Draw, judge, write."""
    del argv
    initialize()
    model, judge = glowdiff.load(_BASE.value), Judge(glowdiff.load(_JUDGE.value))
    emoji, out = emoji_of(model), Path(_OUT.value)
    guided = f"guided, scale {_SCALE.value:g}"
    kinds: dict[str, dict[str, Any]] = {
        "unguided": {"guidance_scale": 1.0},
        guided: {"guidance_scale": _SCALE.value},
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    write_png(out.with_suffix(".png"), picture(model, emoji, kinds), attribution=model.spec.attribution)
    if _CLIP.value:
        clip = {"guidance_scale": 1.0, "guides": [(glowdiff.load(_CLIP.value), _CLIP_SCALE.value)]}
        kinds[f"CLIP, scale {_CLIP_SCALE.value:g}"] = clip
    rows = measure(model, judge, emoji, kinds)
    sampling, unseen = model.config.sampling, emoji.groups[UNSEEN]
    title = (
        f"{len(emoji.rows):,} captions; step {model.step:,}, {sampling.sampler}, {sampling.steps} steps; {_NUM.value} "
        "pictures of each kind:"
    )
    # How far the colours are to be trusted: the palette is made of training pictures.
    trusted = tone_accuracy(emoji.pictures(unseen), unseen, emoji.colours())
    coloured = colour_words(model, emoji, kinds)
    tables = {
        title: rows,
        "Tones of all real test pictures that have one, by colour:": [trusted],
        "Things of one colour that their caption names, by mean colour:": coloured,
    }
    figures = {"step": model.step, "captions": len(emoji.rows), "rows": rows, "tones": trusted, "colours": coloured}
    write_report(out, tables, figures)


def measure(
    model: glowdiff.Model, judge: Judge, emoji: Emoji, kinds: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """A row per kind of caption and of guidance, with real pictures and those of other captions for comparison."""
    z_captions, colours = judge.captions(list(emoji.rows)), emoji.colours()
    rows = []
    for number, group in enumerate(emoji.groups):
        captions = emoji.some(group, _NUM.value)
        own = np.array([emoji.rows[caption] for caption in captions])
        real = emoji.pictures(captions)
        others = np.random.default_rng(number).integers(len(z_captions), size=len(own))
        chance = agreement(judge.images(real), z_captions, others)
        key = jax.random.fold_in(jax.random.key(0), number)
        images_by_kind = {"real pictures": real}
        for kind, options in kinds.items():
            images_by_kind[kind] = model.sample(key, len(captions), prompt=captions, batch=_BATCH.value, **options)
        for kind, images in images_by_kind.items():
            near = agreement(judge.images(images), z_captions, own)
            rows.append({"captions": group, "pictures": kind, **near, **tone_accuracy(images, captions, colours)})
        nothing = tone_accuracy(real[:0], [], colours)
        rows.append({"captions": group, "pictures": "real, wrong captions", **chance, **nothing})
    return rows


def colour_words(model: glowdiff.Model, emoji: Emoji, kinds: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """How often a thing of one colour has the one that its caption names, by kind of guidance."""
    captions = [caption for caption in emoji.rows if colour_of(caption) is not None]
    real = emoji.pictures(captions)
    colours, asked = palette(real, captions), captions * _EACH.value
    rows = [{"pictures": "real", "captions": len(captions), "right colour": colour_accuracy(real, captions, colours)}]
    for kind, options in kinds.items():
        images = model.sample(jax.random.key(2), len(asked), prompt=asked, batch=_BATCH.value, **options)
        right = colour_accuracy(images, asked, colours)
        rows.append({"pictures": kind, "captions": len(captions), "right colour": right})
    return rows


def picture(model: glowdiff.Model, emoji: Emoji, kinds: dict[str, dict[str, Any]]) -> np.ndarray:
    """Captions in bands, below each the same noise under each kind of guidance."""
    captions = [caption for group, some in SHOWN.items() for caption in some or emoji.groups[group]]
    wrong = [caption for group, some in SHOWN.items() for caption in some if caption not in emoji.groups[group]]
    assert not wrong, f"not of the kind of caption they are shown as: {wrong}"
    key, n = jax.random.key(1), len(captions)
    batch = min(_BATCH.value, n)
    images = np.stack([model.sample(key, n, prompt=captions, batch=batch, **options) for options in kinds.values()])
    images = images.repeat(ENLARGED, axis=2).repeat(ENLARGED, axis=3)
    bands = []
    for start in range(0, n, ACROSS):
        some = captions[start : start + ACROSS]
        last = start + ACROSS >= n
        bands.append(
            labelled_grid(
                images[:, start : start + ACROSS],
                model.spec.levels,
                rows=[kind.replace(", ", "\n") for kind in kinds],
                columns=some,
                corner=emoji.group(some[0]),
                footer=model.spec.attribution if last else "",
            )
        )
    width = max(band.shape[1] for band in bands)
    padded = [np.pad(band, ((0, 0), (width - band.shape[1], 0), (0, 0)), constant_values=255) for band in bands]
    return np.concatenate(padded)


if __name__ == "__main__":
    run_main(main)
