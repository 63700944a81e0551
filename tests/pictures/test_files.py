"""Pictures and films carry the attribution that their data's licence asks for, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from glowdiff.errors import ConfigError
from glowdiff.pictures.files import check_cells, write_gif, write_npz, write_png

PIXELS = np.zeros((2, 4, 4, 3), np.uint8)
LINE = "Designed by somebody \u2013 License: CC BY-SA 4.0"


@pytest.mark.parametrize(("count", "side"), [(10_001, 1), (10_000, 256), (65, 2048), (10**12, 8)])
def test_a_picture_that_nobody_could_look_at_is_refused(count, side):
    with pytest.raises(
        ConfigError, match=rf"--num is 9: a picture of {count:,} small ones.* go into one\. Write arrays\."
    ):
        check_cells("--num is 9", count, (side, side), " Write arrays.")


@pytest.mark.parametrize(("count", "side"), [(10_000, 64), (4_000, 256), (64, 2048), (1, 4096)])
def test_large_ones_that_people_do_look_at_are_not(count, side):
    check_cells("--num is 9", count, (side, side))


def test_an_attribution_is_in_the_picture_and_beside_it(tmp_path):
    for name in ("a.png", "b.png"):
        write_png(tmp_path / name, PIXELS[0], attribution=LINE)
        with Image.open(tmp_path / name) as picture:
            picture.load()
            assert picture.info["Copyright"] == LINE
    assert (tmp_path / "ATTRIBUTION.txt").read_text(encoding="utf-8") == f"{LINE}\n"


def test_an_attribution_is_in_the_arrays_and_beside_them(tmp_path):
    write_npz(tmp_path / "a.npz", PIXELS, None, 256, attribution=LINE)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        assert str(stored["attribution"]) == LINE
    assert LINE in (tmp_path / "ATTRIBUTION.txt").read_text(encoding="utf-8")


def test_what_a_file_of_that_name_says_already_is_kept(tmp_path):
    (tmp_path / "ATTRIBUTION.txt").write_text("Mine\n")
    write_png(tmp_path / "a.png", PIXELS[0], attribution=LINE)
    assert (tmp_path / "ATTRIBUTION.txt").read_text(encoding="utf-8") == f"Mine\n{LINE}\n"


def test_without_an_attribution_nothing_is_added(tmp_path):
    write_png(tmp_path / "a.png", PIXELS[0])
    write_npz(tmp_path / "a.npz", PIXELS, np.zeros(2, np.int32), 256)
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "a.npz"}
    with Image.open(tmp_path / "a.png") as picture:
        assert not picture.text
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        assert set(stored.files) == {"arr_0", "arr_1", "levels"}


def test_a_film_shows_its_frames_in_order_and_carries_the_attribution(tmp_path):
    frames = [np.full((4, 4, 3), shade, np.uint8) for shade in (0, 100, 255)]
    write_gif(tmp_path / "a.gif", frames, least=8, attribution=LINE)
    with Image.open(tmp_path / "a.gif") as film:
        assert (film.n_frames, film.size) == (3, (8, 8))
        for number, shade in enumerate((0, 100, 255)):
            film.seek(number)
            assert film.convert("RGB").getpixel((3, 3)) == (shade, shade, shade)
        assert film.info["duration"] > 1000, "the last one stays a while"
    assert LINE in (tmp_path / "ATTRIBUTION.txt").read_text(encoding="utf-8")
