"""`evaluate.py --metrics` of models that read captions: prompts of the test set, CLIP scores, and CLIPs that judge."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glowdiff.cli import evaluate, sample
from glowdiff.data import dataset as datasets
from glowdiff.data.dataset import Dataset
from glowdiff.data.sources import Memory
from glowdiff.metrics.clip_score import cosines
from glowdiff.metrics.drawn import shuffled
from glowdiff.trained import restore
from tests import small
from tests.cli.typed import Result, typed
from tests.metrics import tiny

LONG = "a red heart " * 20  # more than the model reads
TEST = ("a red heart", "flag of Japan", LONG, "a blue circle")
ORDER = [TEST[row] for row in shuffled(len(TEST))]
NUMBER = 6


@pytest.fixture
def place(cascaded, tmp_path, monkeypatch):
    """Commands on a captioned model, whose data set is there."""
    images = np.random.default_rng(0).integers(0, 256, (20, *small.COLOURS.shape), dtype=np.uint8)
    dataset = Dataset(small.COLOURS, Memory(images, captions=["a red heart"] * 20), Memory(images[:4], captions=TEST))
    monkeypatch.setattr(datasets, "load", lambda config: dataset)
    monkeypatch.setattr("glowdiff.metrics.images._place", lambda config: [])
    monkeypatch.setenv("GLOWDIFF_DATA", str(tmp_path / "data"))

    def measure(*words: str, **flags: object) -> Result:
        common = {"workdir": cascaded.base, "features": cascaded.clip, "metrics": "clip_score", "samples": NUMBER}
        flags = {**common, "batch": 2, **flags}
        return typed(
            evaluate.main, *(f"--{name}={value}" for name, value in flags.items() if value is not None), *words
        )

    return measure


def figures(result: Result) -> dict[str, float]:
    assert result.code == 0, result.err
    return json.loads(result.out.splitlines()[-1])["figures"]


def judged(workdir, images: np.ndarray, captions: list[str]) -> float:
    """The mean cosine by a CLIP of noised images, from what it says when it guides."""
    clip = restore(workdir)
    (tokens, mask), _ = clip.tokenizer.encode_cut(captions, clip.config.model.text.context)
    x_0, t = jnp.asarray(images, jnp.float32) / 127.5 - 1, jnp.zeros(len(images))
    cond = {"clip_tokens": tokens, "clip_mask": mask}
    scale = np.exp(min(float(clip.variables["params"]["log_scale"]), np.log(100)))
    return float(np.mean(clip.method.guides.log_prob(clip.variables, x_0, t, cond)) / scale)


def test_prompts_are_the_captions_of_the_test_set(place, cascaded, tmp_path):
    kept = tmp_path / "kept"
    result = place(metrics="fd,clip_score", keep=kept)
    drawn = [np.load(file) for file in sorted(kept.glob("*.npz"))]
    images, prompts = (np.concatenate([each[name] for each in drawn]) for name in ("arr_0", "prompts"))
    captions = [ORDER[row % len(ORDER)] for row in range(NUMBER)]
    assert prompts.tolist() == captions
    # What the judge is told is the whole caption, of which the model reads as much as it can.
    (distance, _), (name, score) = figures(result).items()
    assert distance.startswith("fd_noised_clip_toy_")
    assert name.startswith("clip_score_noised_clip_toy_")
    assert name.endswith("_as_trained_6_of_toy_test")
    assert score == pytest.approx(judged(cascaded.clip, images, captions), abs=1e-5)
    assert "4 prompts of the test set" in result.out
    assert "1 of the 4 captions are longer than what the model reads, and were cut." in result.err
    # The same samples by hand; and from a file with its prompts.
    short = tmp_path / "prompts.txt"
    model = restore(cascaded.base)
    short.write_text("\n".join(model.tokenizer.shortened(caption, 32) for caption in captions))
    out = tmp_path / "samples.npz"
    words = (f"--workdir={cascaded.base}", f"--prompts={short}", f"--out={out}", f"--num={NUMBER}", "--batch=2")
    assert typed(sample.main, *words).code == 0
    np.testing.assert_array_equal(np.load(out)["arr_0"], images)
    np.savez(out, arr_0=images, prompts=prompts)
    found = figures(place(workdir=None, samples=None, samples_file=out))
    assert found == {name.replace("toy_test", "samples"): pytest.approx(score, abs=1e-6)}


def test_clip_guides_towards_prompts(place, cascaded):
    guide = [f"--clip={cascaded.clip}", "--prompt=a red heart"]
    plain, guided = (figures(place(*guide, clip_scale=scale)) for scale in (0, 30))
    assert next(iter(plain)).endswith("_of_prompts")
    assert next(iter(guided.values())) > next(iter(plain.values()))
    assert "these words at its end would be lost" in place(f"--prompt={LONG}").error


def test_a_published_clip_reads_with_its_own_vocabulary(place, cascaded, tmp_path):
    clip = tiny.workdir(tmp_path / "clip", "clip_vit")
    kept = tmp_path / "kept"
    ((name, score),) = figures(place("--prompt=a red heart", features=clip, keep=kept)).items()
    assert name == "clip_score_clip_vit_cropped_6_of_prompts"
    part, images = restore(clip), np.concatenate([np.load(file)["arr_0"] for file in sorted(kept.glob("*.npz"))])
    features, (tokens, mask) = part.method.features, part.tokenizer.encode(["a red heart"] * NUMBER, 77)
    with jax.default_matmul_precision("highest"):
        seen = features.images(part.variables, features.prepare["cropped"](images))["image"]
        read = features.texts(part.variables, tokens, mask)["text"]
    assert score == pytest.approx(float(cosines(np.asarray(seen), np.asarray(read)).mean()), abs=1e-5)


def test_what_has_no_clip_score(place, cascaded, tmp_path, monkeypatch):
    images = np.zeros((3, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "bare.npz", arr_0=images)
    np.savez(tmp_path / "large.npz", arr_0=images.repeat(2, 1).repeat(2, 2), prompts=["a"] * 3)
    of_file = {"workdir": None, "samples": None}
    for flags, message in (
        ({**of_file, "samples_file": tmp_path / "bare.npz"}, "samples with their captions, but"),
        ({**of_file, "samples_file": tmp_path / "large.npz"}, "but the network takes images of 8x8 alone"),
        ({"metrics": "cmmd"}, "is defined of a published CLIP alone, but --features names a CLIP trained here."),
        ({"metrics": "fid"}, "names a CLIP trained here. The same distance in its features is fd."),
        ({"metrics": "fd_infinity"}, "the samples are 6, but fd_infinity needs at least 5,001."),
        ({"features": "efficientnet_lite0"}, "is defined of a published CLIP or a CLIP trained here alone"),
    ):
        assert message in place(**flags).err, flags
    bare = Dataset(small.COLOURS, Memory(images), Memory(images))
    monkeypatch.setattr(datasets, "load", lambda config: bare)
    assert "whose test set has no captions that could be prompts. Give --prompts=FILE" in place().error
