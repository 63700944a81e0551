"""`inpaint` and `sdedit`: what their grids hold, and the commands as a person runs them, on a tiny text model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import glowdiff
from glowdiff.cli import edit
from glowdiff.editing import painting
from glowdiff.pictures.inputs import from_files
from tests import small
from tests.cli.typed import Result, typed

SIDE = 8


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> Path:
    """Inpaints pictures with captions; its parameters are noise."""
    folder = tmp_path_factory.mktemp("painting")
    pictures, rng = folder / "set", np.random.default_rng(0)
    pictures.mkdir()
    for row in range(10):
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(pictures / f"{row}.png")
        (pictures / f"{row}.txt").write_text(f"a {'red' if row % 2 else 'blue'} heart")
    config = small.diffusion_config(
        data__name="folder", data__path=str(pictures), data__dir=str(folder / "prepared"), data__size=SIDE,
        data__test_fraction=0.2, model__class_conditional=False, model__label_dropout=0.0, model__inpaint=True,
        model__text__name="glide", model__caption_dropout=0.2, model__text__context=24, model__text__width=32,
        model__text__layers=1, model__text__heads=2, model__text__vocab_size=300,
    )  # fmt: skip
    return small.untrained_workdir(folder / "run", config)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A picture with a mask of its right half, and things that are none."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / "a.png")
    mask = np.zeros((16, 16), np.uint8)
    Image.fromarray(mask).save(folder / "black.png")
    mask[:, 8:] = 255
    Image.fromarray(mask).save(folder / "m.png")
    Image.fromarray(mask[:8]).save(folder / "flat.png")
    return folder


class Grids:
    """Stands in for `labelled_grid` and keeps what it is asked to draw."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(painting, "labelled_grid", self)

    def __call__(self, images: np.ndarray, levels: int, **labels) -> np.ndarray:
        self.images, self.labels = images, labels
        return np.zeros((1, 1, 3), np.uint8)


def test_the_grids(workdir, files, monkeypatch):
    model, grids = glowdiff.load(workdir), Grids(monkeypatch)
    picture = from_files([str(files / "a.png")], model.spec)
    image, repaint = picture.images[0], np.zeros((SIDE, SIDE), bool)
    repaint[:, 4:] = True
    result = painting.inpaint(
        model, picture, repaint, 3, prompt="a red heart", footer="by somebody", guidance_scale=2.0
    )
    assert result.what == "50% of the pixels of a painted anew, 3 variations"
    assert grids.labels["columns"] == ["image", "to paint", "1", "2", "3"]
    assert grids.labels["rows"] == ["a"]
    assert grids.labels["footer"] == "a red heart\nby somebody"
    row = grids.images[0]
    assert row.shape == (5, SIDE, SIDE, 3)
    np.testing.assert_array_equal(row[0], image)
    for shown in row[1:]:
        np.testing.assert_array_equal(shown[:, :4], image[:, :4])
    assert len(np.unique(row[1, :, 4:])) == 2, "two grays"
    assert all((one != other).any() for one, other in ((row[2], row[3]), (row[3], row[4])))
    again = painting.inpaint(model, picture, repaint, 3, seed=1, prompt="a red heart", guidance_scale=2.0)
    assert again.what == result.what
    assert (grids.images[0, 2] != row[2]).any()

    result = painting.sdedit(model, picture, [0.2, 1], prompt="a red heart")
    assert grids.labels["columns"] == ["image", "strength 0.2", "strength 1"]
    assert grids.labels["footer"] == "a red heart"
    assert grids.images.shape == (1, 3, SIDE, SIDE, 3)
    far = np.abs(grids.images[0].astype(float) - image).mean((1, 2, 3))
    assert far[0] == 0 < far[1] < far[2]
    assert result.what == f"a varied at strength 0.2 1, {far[1]:.3g} {far[2]:.3g} levels from it on average"


MISTAKES = {
    "no picture": ("inpaint --mask=m.png", "--image is missing"),
    "no mask": ("inpaint --image=a.png", "which pixels are painted anew? Give --mask=FILE, white where"),
    "two masks": ("inpaint --image=a.png --mask=m.png --erase=0:0:1:1", "--mask was given, and --erase, which also"),
    "no strength to inpaint": ("inpaint --image=a.png --mask=m.png --strength=1", "inpaint has no --strength."),
    "no mask to vary": ("sdedit --image=a.png --mask=m.png", "glowdiff edit sdedit has no --mask."),
    "pictures": ("sdedit --images=a.png", "glowdiff edit sdedit has no --images. Did you mean --image?"),
    "a missing picture": ("sdedit --image=none.png", "--image: none.png cannot be used: it cannot be read"),
    "a missing mask": ("inpaint --image=a.png --mask=none.png", "--mask: none.png cannot be used"),
    "an empty mask": ("inpaint --image=a.png --mask=black.png", "black.png is all black"),
    "a small mask": ("inpaint --image=a.png --mask=flat.png", "flat.png is 16x8 pixels, but"),
    "a picture for a mask": ("inpaint --image=a.png --mask=a.png", "it has colours; a mask is black"),
    "no strength at all": ("sdedit --image=a.png --strength=0", "--strength is '0'; it is the share of the noise"),
    "no share": ("sdedit --image=a.png --strength=nan", "--strength is 'nan'; it is the share of the noise"),
    "many programs": ("sdedit --image=a.png --strength=0.2:0.8:21", "which are 21 of them; at most 20 are varied"),
    "very many": ("sdedit --image=a.png --strength=0.2:0.8:100000", "a picture of 100,000 small ones is more than"),
    "many variations": ("inpaint --image=a.png --mask=m.png --count=9999999", "1 rows of 10,000,001: a picture of"),
    "no number at all": ("sdedit --image=a.png --guidance_scale=1e38", "--guidance_scale is 1e+38; it must be from"),
    "one even step": ("sdedit --image=a.png --steps=1", "Use sampling.spacing=trailing"),
    "too much": ("sdedit --image=a.png --strength=0.5:1.5:3", "--strength is '0.5:1.5:3'; it is the share"),
    "no number": ("sdedit --image=a.png --strength=much", "--strength is 'much'; it must be 0.6, 0.2,0.4,0.6 or START"),
    "a label": ("sdedit --image=a.png --label=3", "--label was given, but this model was not trained with labels"),
    "no such sampler": ("sdedit --image=a.png --sampler=ddpm", "sampler is 'ddpm'; it must be one of"),
    "too many steps": ("sdedit --image=a.png --steps=21", "steps is '21', which asks for 21 steps"),
    "nothing to enlarge": ("sdedit --image=a.png --low_res=a.png", "it is what a super-resolution model enlarges"),
    "one column": ("interpolate --steps=1", "--steps is 1; it must be at least 2."),
    "nothing leads away": ("sdedit --image=a.png --negative_prompt=b", "negative_prompt is given, but guidance_scale"),
    "another option": ("sdedit --image=a.png --percentile=90", "percentile is 90.0, but threshold is 'clip'"),
    "no such threshold": ("sdedit --image=a.png --threshold=clap", "threshold is 'clap'; it must be one of"),
}  # fmt: skip
FLOW = {
    "inpaint": ("inpaint --image=a.png --mask=m.png", "inpaint does not work with method glow: diffusion models edit"),
    "sdedit": ("sdedit --image=a.png", "sdedit does not work with method glow: diffusion models edit images so."),
}
TO_PAINT = "--image=a.png --prompt=red --negative_prompt=blue --count=2 --guidance_scale=3 --sampler=ddim --steps=3"
GOOD = {
    "inpaint": f"inpaint --mask=m.png {TO_PAINT}",
    "erase": f"inpaint --erase=0.5:0:1:1 {TO_PAINT}",
    "sdedit": "sdedit --image=a.png --strength=0.5,1 --prompt=red --steps=3",
}


@pytest.fixture(scope="module")
def results(workdir, trained, files) -> dict[str, Result]:
    """Every command line, with the files' folder in front of their names."""
    lines = {}
    for of, table in ((workdir, MISTAKES), (trained.workdir, FLOW), (workdir, GOOD)):
        for name, entry in table.items():
            words = [
                word
                if "none.png" in word
                else word.replace("image=", f"image={files}/").replace("mask=", f"mask={files}/")
                for word in (entry if isinstance(entry, str) else entry[0]).split()
            ]
            kind = "good" if table is GOOD else "flow" if table is FLOW else "mistake"
            lines[f"{kind} {name}"] = typed(edit.main, *words, f"--workdir={of}", f"--out={files / kind / name}.png")
    return lines


@pytest.mark.parametrize("name", [f"mistake {name}" for name in MISTAKES] + [f"flow {name}" for name in FLOW])
def test_a_mistake_is_one_line_that_says_what_to_change(results, name):
    kind, _, key = name.partition(" ")
    assert (MISTAKES if kind == "mistake" else FLOW)[key][1] in results[name].error


@pytest.mark.parametrize("name", GOOD)
def test_the_commands_write_a_grid_and_say_so_in_a_line(results, files, workdir, name):
    result = results[f"good {name}"]
    assert result.code == 0, result.err
    with Image.open(files / "good" / f"{name}.png") as picture:
        assert picture.mode == "RGB"
        assert picture.width > picture.height > 100
    what = {"sdedit": "a varied at strength 0.5 1, "}.get(name, "50% of the pixels of a painted anew, 2 variations; ")
    assert result.out.startswith(what)
    assert result.out.endswith(f"{workdir}, step 0: {files / 'good' / name}.png\n")


def test_a_rectangle_does_what_its_mask_does(results, files):
    assert results["good erase"].code == 0
    assert (files / "good" / "inpaint.png").read_bytes() == (files / "good" / "erase.png").read_bytes()
