"""Every kind of image file becomes the right RGB pixels, and every kind of damage is refused by name."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image, ImageFile

from glowdiff.pictures.reader import Refused, read_image, read_size

RAMP = np.arange(16) * 16


@pytest.mark.parametrize(
    ("file", "colour"),
    [
        ("cmyk.jpg", (200, 30, 40)),
        ("palette.png", (200, 30, 40)),
        ("webp.webp", (200, 30, 40)),
        ("bitmap.bmp", (200, 30, 40)),
        ("tagged.tif", (200, 30, 40)),
        ("transparent.png", (255, 255, 255)),
        ("half.png", (127, 127, 127)),
        ("gray_alpha.png", (255, 255, 255)),
        ("palette_alpha.png", (255, 255, 255)),
        ("bilevel.png", (255, 255, 255)),
        ("animated.gif", (0, 0, 255)),
    ],
)
def test_colours_of_every_kind(good_files, file, colour):
    pixels = read_image(good_files / file, None)
    assert (pixels.shape, pixels.dtype) == ((16, 16, 3), np.uint8)
    np.testing.assert_allclose(pixels.mean((0, 1)), colour, atol=3)
    assert pixels.std((0, 1)).max() < 3


@pytest.mark.parametrize("file", ["gray.png", "sixteen.png"])
def test_gray_is_repeated_and_sixteen_bits_are_rescaled(good_files, file):
    np.testing.assert_array_equal(read_image(good_files / file, None)[3], np.stack([RAMP] * 3, -1))


def test_exif_rotation_is_applied(good_files):
    np.testing.assert_array_equal(read_image(good_files / "rotated.png", None)[:, 5, 1], RAMP)


def test_exif_rotation_swaps_the_sides(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg", exif=exif)
    assert read_size(tmp_path / "a.jpg") == (30, 20)
    assert read_image(tmp_path / "a.jpg", None).shape == (30, 20, 3)


def test_resizing_cuts_the_centre_and_is_antialiased(tmp_path):
    pixels = np.zeros((32, 96, 3), np.uint8)
    pixels[:, 32:64] = np.indices((32, 32)).sum(0)[..., None] % 2 * 255  # a fine chessboard in the middle square
    Image.fromarray(pixels).save(tmp_path / "a.png")
    small = read_image(tmp_path / "a.png", 8)
    assert small.shape == (8, 8, 3)
    np.testing.assert_allclose(small[1:-1, 1:-1], 127, atol=6)  # averaged, not picked; no black from the sides


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("truncated.jpg", "end is missing"),
        ("truncated.png", "cannot be read"),
        ("truncated.webp", "cannot be read"),
        ("truncated.gif", "cannot be read"),
        ("zeros.jpg", "end is missing"),
        ("zeros.png", "cannot be read"),
        ("zeros.webp", "filled with zeros"),
        ("empty.png", "empty"),
        ("README.txt", "not an image"),
        ("text.jpg", "not an image"),
        ("Thumbs.db", "not an image"),
        ("bomb.png", "decompression bomb"),
        ("large.png", "10000x10000 pixels"),
        ("float.tif", "floating-point"),
        ("deep.tif", "32-bit"),
        ("missing.png", "No such file"),
    ],
)
def test_unusable_files_are_refused_with_a_reason(bad_files, file, reason):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(Refused, match=reason) as refusal:
            read_image(bad_files / file, None)
    assert str(bad_files) not in str(refusal.value)


@pytest.mark.parametrize("file", ["bomb.png", "large.png"])
@pytest.mark.filterwarnings("ignore")
def test_bombs_are_refused_from_the_header(bad_files, file, monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("decoded"))
    with pytest.raises(Refused, match="bomb"):
        read_size(bad_files / file)


def test_no_half_grey_images_even_if_another_library_asked_for_them(bad_files, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(Refused):
        read_image(bad_files / "truncated.jpg", None)
