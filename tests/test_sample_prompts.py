"""`sample.py` on models that read captions: prompts, CLIP, and an upsampler behind the model."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests import small

# Every command in one process, as if it were started anew; one line of each: what it says, or its error.
COMMANDS = """
import sys
from absl import flags
import sample
for line in sys.argv[1:]:
    try:
        flags.FLAGS.unparse_flags()
        for name in flags.FLAGS:
            flags.FLAGS[name].unparse()
        flags.FLAGS(["sample.py", *line.split(";")])
        sample.main([])
    except Exception as error:
        print(type(error).__name__, error)
"""


def run(*lines: list[str]) -> list[str]:
    result = small.command("-c", COMMANDS, *(";".join(line) for line in lines))
    assert result.returncode == 0, result.stderr
    found = result.stdout.strip().splitlines()
    assert len(found) == len(lines), result.stdout
    return found


@pytest.fixture(scope="module")
def drawn(cascaded, tmp_path_factory):
    """What two commands on a cascade wrote, and on its base with CLIP."""
    folder = tmp_path_factory.mktemp("drawn")
    (folder / "prompts.txt").write_text("a red heart\n\nflag of Japan\n")
    cascade = [f"--workdir={cascaded.base}", f"--upsampler={cascaded.upsampler}", "--upsampler_steps=3"]
    said = run(
        [*cascade, f"--prompts={folder}/prompts.txt", f"--out={folder}/grid.png"],
        [*cascade, "--prompt=a red heart", "--prompt=flag of Japan", "--guidance_scale=1", f"--out={folder}/two.npz"],
        [f"--workdir={cascaded.base}", "--prompt=a red heart", "--num=2", f"--clip={cascaded.clip}", "--clip_scale=2",
         f"--out={folder}/clip.npz"],
    )  # fmt: skip
    assert [line.split(" of")[0] for line in said] == ["2 samples"] * 3, said
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
    "the CLIP is a model of method diffusion, not clip": ["--prompt=a", "--clip=BASE"],
    "prompt is given, but this model reads no captions": ["--workdir=PLAIN", "--prompt=a"],
    "but the model reads 32": ["--prompt=" + "heart " * 40],
}


def test_what_does_not_fit_is_refused(cascaded, tmp_path):
    plain = small.text_config(model__text=False, model__caption_dropout=0.0, sampling__guidance_scale=None)
    small.untrained_workdir(tmp_path / "plain", plain, small.COLOURS)
    places = {"BASE": cascaded.base, "UP": cascaded.upsampler, "CLIP": cascaded.clip, "PLAIN": tmp_path / "plain"}

    def filled(flag: str) -> str:
        name, _, value = flag.partition("=")
        return f"{name}={places.get(value, value)}"

    lines = run(*([f"--workdir={cascaded.base}", *map(filled, given)] for given in REFUSED.values()))
    for line, message in zip(lines, REFUSED, strict=True):
        assert line.startswith("ConfigError")
        assert message in line
