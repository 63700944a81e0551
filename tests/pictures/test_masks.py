"""Masks: what is white, cut and resized as the image is, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glowdiff.errors import ConfigError
from glowdiff.pictures.inputs import from_files
from glowdiff.pictures.masks import from_file, from_shares
from glowdiff.spec import DataSpec

SPEC = DataSpec("colour", (8, 8, 3), 256, 1, 1)


def save(path: Path, pixels: np.ndarray | Image.Image) -> str:
    (Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels).save(path)
    return str(path)


def white(height: int, width: int, rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    mask[rows, columns] = 255
    return mask


@pytest.fixture
def image(tmp_path: Path) -> str:
    """16 rows of 32 pixels, of which the middle 16 columns are seen."""
    return save(tmp_path / "image.png", np.zeros((16, 32, 3), np.uint8))


def test_a_mask_is_cut_and_resized_as_its_image_is(tmp_path):
    """Where the image is red the mask is white: so it is too when both are small."""
    mask = white(16, 32, slice(4, 10), slice(6, 18))
    red = np.stack([mask, 0 * mask, 0 * mask], -1)
    image = save(tmp_path / "red.png", red)
    found = from_file(save(tmp_path / "mask.png", mask), image, (8, 8))
    assert (found.shape, found.dtype) == ((8, 8), bool)
    np.testing.assert_array_equal(found, from_files([image], SPEC).images[0, ..., 0] >= 128)
    assert found.sum() == 3 * 5
    # Of a model of wide images all of it is there.
    assert from_file(str(tmp_path / "mask.png"), image, (8, 16)).sum() == 3 * 6


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "P"])
def test_black_and_white_in_any_mode(tmp_path, image, mode):
    picture = Image.fromarray(white(16, 32, slice(4, 12), slice(12, 20))).convert(mode)
    found = from_file(save(tmp_path / "mask.png", picture), image, (8, 8))
    np.testing.assert_array_equal(found, white(8, 8, slice(2, 6), slice(2, 6)) > 0)


def refused(tmp_path: Path, image: str, pixels: np.ndarray, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^--mask: .*{message}"):
        from_file(save(tmp_path / "mask.png", pixels), image, (8, 8))


def test_what_is_no_mask_is_refused(tmp_path, image):
    good = white(16, 32, slice(4, 12), slice(12, 20))
    gray, coloured, clear = good.copy(), np.stack([good, good, 0 * good], -1), np.stack([good] * 4, -1)
    gray[0, :16] = 100
    refused(tmp_path, image, good[:, :20], r"is 20x16 pixels, but .*image.png is 32x16; it must be as large")
    refused(tmp_path, image, gray, r"3.1% of its pixels are gray; a mask is black \(stays\) and white")
    refused(tmp_path, image, coloured, r"it has colours; a mask is black \(stays\) and white \(is painted anew\)")
    refused(tmp_path, image, clear, "it has transparent pixels, which are neither black nor white")
    refused(tmp_path, image, 0 * good, "is all black; what is to be painted anew must be white")
    outside, thin = white(16, 32, slice(0, 16), slice(0, 7)), white(16, 32, slice(5, 6), slice(16, 17))
    for lost in (outside, thin):
        refused(tmp_path, image, lost, "nothing of what is white in .* is left when it is cut to the centre")
    with pytest.raises(ConfigError, match=r"--mask: none.png cannot be used: it cannot be read \(No such file"):
        from_file("none.png", image, (8, 8))


def test_a_rectangle_in_shares_of_the_sides():
    np.testing.assert_array_equal(from_shares("0.25:0.5:1:1", (8, 16)), white(8, 16, slice(4, 8), slice(4, 16)) > 0)
    assert from_shares("0:0:1:1", (3, 3)).all()
    for wrong in ("0.5", "0:0:1", "0:0:2:1", "0.6:0:0.5:1", "a:0:1:1", "nan:0:1:1", "0:0:1:1:1"):
        with pytest.raises(ConfigError, match=rf"--erase is '{wrong}'; it must be LEFT:TOP:RIGHT:BOTTOM"):
            from_shares(wrong, (8, 8))
    with pytest.raises(ConfigError, match="in which no pixel of 8x8 lies"):
        from_shares("0.5:0.5:0.51:0.51", (8, 8))
