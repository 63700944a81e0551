"""`sample.py` on models that read captions: prompts, CLIP, and an upsampler behind the model."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from glowdiff.cli import sample
from tests import small
from tests.cli.typed import typed


@pytest.fixture(scope="module")
def drawn(cascaded, tmp_path_factory):
    """What two commands on a cascade wrote, and on its base with CLIP."""
    folder = tmp_path_factory.mktemp("drawn")
    (folder / "prompts.txt").write_text("a red heart\n\nflag of Japan\n")
    cascade = [f"--workdir={cascaded.base}", f"--upsampler={cascaded.upsampler}", "--upsampler_steps=3"]
    for line in (
        [*cascade, f"--prompts={folder}/prompts.txt", "--negative_prompt=a blue circle", f"--out={folder}/grid.png"],
        [*cascade, "--prompt=a red heart", "--prompt=flag of Japan", "--guidance_scale=1", f"--out={folder}/two.npz"],
        [f"--workdir={cascaded.base}", "--prompt=a red heart", "--num=2", f"--clip={cascaded.clip}", "--clip_scale=2",
         f"--out={folder}/clip.npz"],
    ):  # fmt: skip
        result = typed(sample.main, *line)
        assert result.out.startswith("2 samples of "), result
    return folder


def test_a_grid_carries_its_prompts(drawn):
    with Image.open(drawn / "grid.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    assert pixels.shape[1] > 2 * 96
    assert (pixels[10:30] < 128).any(), "captions"


def test_arrays_carry_their_prompts(drawn):
    for name, side, prompts in (("two", 16, ["a red heart", "flag of Japan"]), ("clip", 8, ["a red heart"] * 2)):
        with np.load(drawn / f"{name}.npz", allow_pickle=False) as stored:
            assert stored["arr_0"].shape == (2, side, side, 3)
            assert stored["prompts"].tolist() == prompts
            assert (stored["arr_0"][0] != stored["arr_0"][1]).any()


REFUSED = {
    "--prompt and --prompts are both given": ["--prompt=a", "--prompts=b.txt"],
    "--prompts is nowhere.txt, which is no file": ["--prompts=nowhere.txt"],
    "--clip is given, but no --prompt": ["--clip=CLIP"],
    "--clip_scale is given, but no --clip": ["--clip_scale=2"],
    "--upsampler_steps is given, but no --upsampler": ["--upsampler_steps=3"],
    "--upsampler is given, and --low_res: it enlarges what --workdir draws": ["--upsampler=UP", "--low_res=a.png"],
    "--upsampler is given, and --film: a cascade draws no films": ["--upsampler=UP", "--film=a.gif"],
    "the upsampler is no super-resolution model": ["--upsampler=BASE"],
    "this model needs --low_res=FILE: what a super-resolution model enlarges": ["--workdir=UP"],
    "negative_prompt is given, but this model reads no captions": ["--workdir=PLAIN", "--negative_prompt=a"],
    "negative_prompt is given, but guidance_scale is not": ["--negative_prompt=a", "--guidance_scale=none"],
    "a model of method diffusion, not clip": ["--prompt=a", "--clip=BASE"],
    "prompt is given, but this model reads no captions": ["--workdir=PLAIN", "--prompt=a"],
    "but the model reads 32": ["--prompt=" + "heart " * 40],
    "of method clip, which draws no samples": ["--workdir=CLIP"],
}


@pytest.fixture(scope="module")
def places(cascaded, tmp_path_factory):
    plain = small.text_config(model__text__name="none", model__caption_dropout=0.0, sampling__guidance_scale=None)
    workdir = small.untrained_workdir(tmp_path_factory.mktemp("plain") / "run", plain, small.COLOURS)
    return {"BASE": cascaded.base, "UP": cascaded.upsampler, "CLIP": cascaded.clip, "PLAIN": workdir}


@pytest.mark.parametrize("message", REFUSED)
def test_what_does_not_fit_is_refused(places, message):
    words = [name_and_value.partition("=") for name_and_value in REFUSED[message]]
    filled = [f"{name}={places.get(value, value)}" for name, _, value in words]
    if not filled[0].startswith("--workdir"):
        filled.append(f"--workdir={places['BASE']}")
    assert message in typed(sample.main, *filled).error
