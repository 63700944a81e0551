"""Labelled grids."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from PIL import ImageFont

from glowdiff.pictures import labelled
from glowdiff.pictures.labelled import captioned_grid, labelled_grid

LONG = "a woman with a medium-dark skin tone who holds the hand of an unpronounceablyverylonglynamedperson " * 2


def cells(rows: int, columns: int, side: int = 8, channels: int = 3) -> np.ndarray:
    """Images of one colour each, none of them a colour of text or paper."""
    values = 60 + 10 * np.arange(rows * columns, dtype=np.uint8)
    images = np.zeros((rows, columns, side, side, channels), np.uint8)
    images[..., 0] = values.reshape(rows, columns, 1, 1)
    return images


def boxes(picture: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Top, left, height and width of every cell in the picture: [R, T, 4]."""
    found = []
    for image in images.reshape(-1, *images.shape[2:]):
        ys, xs = np.nonzero((picture == image[0, 0]).all(-1))
        assert len(ys) == (np.ptp(ys) + 1) * (np.ptp(xs) + 1), "a cell is covered by something"
        found.append((ys.min(), xs.min(), np.ptp(ys) + 1, np.ptp(xs) + 1))
    return np.array(found).reshape(*images.shape[:2], 4)


@pytest.mark.parametrize("side", [8, 32, 64, 100, 200])
@pytest.mark.parametrize("label", ["", "three", LONG])
def test_cells_lie_in_rows_and_columns_enlarged_by_a_whole_factor(side, label):
    images = cells(3, 4, side)
    picture = labelled_grid(images, 256, rows=[label] * 3, columns=[label] * 4, corner=label, footer=label)
    found = boxes(picture, images)
    top, left, height, width = np.moveaxis(found, -1, 0)
    assert len(np.unique(height)) == len(np.unique(width)) == 1
    assert height[0, 0] == width[0, 0] == side * max(1, round(96 / side))
    assert (left == left[:1]).all()
    assert (top == top[:, :1]).all()
    assert len(np.unique(np.diff(left[0]))) == len(np.unique(np.diff(top[:, 0]))) == 1


@pytest.mark.parametrize("label", ["", "three", LONG])
def test_nothing_is_cut_off_at_the_margin(label):
    images = cells(2, 2)
    picture = labelled_grid(images, 256, rows=[label] * 2, columns=[label] * 2, corner=label, footer=label)
    for edge in (picture[:5], picture[-5:], picture[:, :5], picture[:, -5:]):
        assert (edge == 255).all()


def test_labels_stand_beside_their_cells():
    images = cells(2, 3)
    picture = labelled_grid(images, 256, rows=["one", "two"], columns=["a", "b", "c"], corner="what", footer="whose")
    top, left, height, width = np.moveaxis(boxes(picture, images), -1, 0)

    def inked(part: np.ndarray) -> bool:
        return bool((part < 128).any())

    for row in range(2):
        assert inked(picture[top[row, 0] : top[row, 0] + height[0, 0], : left[0, 0]])
    for column in range(3):
        assert inked(picture[: top[0, 0], left[0, column] : left[0, column] + width[0, 0]])
    assert inked(picture[: top[0, 0], : left[0, 0]])
    assert inked(picture[top[-1, 0] + height[0, 0] :])


def test_gray_images_of_few_levels_are_shown_from_black_to_white():
    images = np.broadcast_to(np.array([0, 8, 16], np.uint8)[None, :, None, None, None], (1, 3, 8, 8, 1))
    picture = labelled_grid(images, 17, rows=[""], columns=["", "", ""])
    middle = picture[picture.shape[0] // 2]
    assert {tuple(pixel) for pixel in middle} == {(0, 0, 0), (128, 128, 128), (255, 255, 255)}


def test_letters_that_the_font_lacks_are_written_without_accents():
    images = cells(1, 1)

    def drawn(label: str) -> np.ndarray:
        return labelled_grid(images, 256, rows=[label], columns=[""])

    np.testing.assert_array_equal(drawn("São Tomé: “fête”"), drawn('Sao Tome: "fete"'))
    np.testing.assert_array_equal(drawn("無料"), drawn("??"))


@pytest.mark.parametrize("n", [1, 4, 5])
def test_every_image_stands_below_its_caption(n):
    images = cells(1, n)[0]
    names = [f"{'very ' * i}number {i}" for i in range(n)]
    picture = captioned_grid(images, 256, names)
    side = math.ceil(math.sqrt(n))
    top, left, height, width = np.moveaxis(boxes(picture, images[None])[0], -1, 0)
    assert len(np.unique(left)) == side
    for i in range(n):
        assert (top[i], left[i]) == (top[i - i % side], left[i % side])
        above = picture[top[i] - 20 : top[i], left[i] : left[i] + width[i]]
        assert (above < 128).any() or n == 1, "one caption of all stands at the end"
    if n == 1:
        assert (picture[top[0] + height[0] :] < 200).any()


@pytest.mark.parametrize(
    "caption", ["a" * 100_000, "i" * 100_000, "word " * 20_000, "\n" * 100_000 + "end", "é a\n" * 9999]
)
def test_captions_of_any_length_are_shortened_and_measured_no_longer_than_needed(caption, monkeypatch):
    measured = []
    width = labelled._width
    monkeypatch.setattr(labelled, "_width", lambda text, font: measured.append(len(text)) or width(text, font))
    images = cells(1, 2)[0]
    for captions in ([caption] * 2, [caption, "short"]):
        picture = captioned_grid(images, 256, captions)
        assert picture.shape[0] < 1000
        boxes(picture, images[None])
    assert sum(measured) < len(caption)


@pytest.mark.parametrize("word", ["a" * 60, "W" * 60, "ab" * 30])
def test_a_word_that_is_too_long_for_a_line_is_broken_where_it_must_be(word):
    font = ImageFont.load_default(14)
    lines = labelled._wrapped(word, 100, font, 99)
    assert "".join(lines) == word
    for line, following in itertools.pairwise(lines):
        assert font.getlength(line) <= 100 < font.getlength(line + following[0])
    shortened = labelled._wrapped(word, 100, font, 2)
    assert len(shortened) == 2
    assert shortened[1].endswith("...")


def test_one_caption_of_all_stands_once():
    images = cells(1, 4)[0]
    once, anew = (captioned_grid(images, 256, names) for names in (["a red heart"] * 4, [*"abcd"]))
    assert once.shape != anew.shape
    bottom = boxes(once, images[None])[0, :, [0, 2]].sum(0).max()
    assert (once[bottom:] < 200).any()
    assert (once[: boxes(once, images[None])[0, 0, 0]] == 255).all()
