"""Images are resized as the programs do it with which published features were made."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
import pytest
from PIL import Image

from glowdiff.networks import preprocessing
from glowdiff.networks.interpolation import cubic, cubic_smooth, linear_centre, linear_corner, resample

PICTURES = np.random.default_rng(0).integers(0, 256, (2, 21, 34, 3), dtype=np.uint8)
SIZES = [(13, 20), (40, 50), (9, 34)]  # smaller, larger, one axis only


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_pil(height, width):
    """Of bytes, where nothing but ties of PIL's integers may differ, and of floats."""
    matrices = cubic_smooth(21, height), cubic_smooth(34, width)
    for rounded, mode, tolerance in ((True, "L", 1), (False, "F", 1e-4)):
        found = np.asarray(resample(PICTURES, *matrices, rounded=rounded))
        for channel in range(3):
            picture = Image.fromarray(PICTURES[0, ..., channel].astype(np.uint8 if rounded else np.float32), mode)
            expected = np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC), np.float32)
            np.testing.assert_allclose(found[0, ..., channel], expected, atol=tolerance)
            assert (found[0, ..., channel] == expected).mean() > 0.99 or not rounded


def test_jax():
    """Whose bicubic is CMMD's."""
    for height, width in SIZES:
        shape = (2, height, width, 3)
        expected = jax.image.resize(PICTURES.astype(np.float32), shape, "bicubic")
        found = resample(PICTURES, cubic_smooth(21, height), cubic_smooth(34, width))
        np.testing.assert_allclose(found, expected, atol=2e-3)
    expected = jax.image.resize(PICTURES.astype(np.float32), shape, "bilinear", antialias=False)
    np.testing.assert_allclose(resample(PICTURES, linear_centre(21, 9), linear_centre(34, 34)), expected, atol=1e-3)


def test_corners_and_cubics():
    np.testing.assert_allclose(linear_corner(2, 4), [[1, 0], [0.5, 0.5], [0, 1], [0, 1]])
    for matrix in (cubic(5, 7), cubic(5, 3), cubic(5, 3, step=5 / 3.1), linear_corner(7, 3), cubic_smooth(9, 4)):
        np.testing.assert_allclose(matrix.sum(1), 1)
    np.testing.assert_allclose(cubic(4, 4), np.eye(4))
    # Halfway between the second and the third: -1/8 of (1 - 3/4), as PyTorch has it.
    np.testing.assert_allclose(cubic(4, 2)[0], np.array([-0.09375 + 0.59375, 0.59375, -0.09375, 0]))


@pytest.mark.parametrize("size", [(21, 34), (34, 21), (16, 16)])
def test_the_centre_is_cut_out(size):
    """As torchvision does with PIL's pictures: the shorter side first."""
    picture = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    found = np.asarray(partial(preprocessing.efficientnet_lite, side=16, shorter=18)(picture[None]))[0] * 128 + 127
    if size == (16, 16):
        expected = picture
    else:
        tall, wide = (18 * each // min(size) for each in size)
        resized = np.asarray(Image.fromarray(picture).resize((wide, tall), Image.Resampling.BICUBIC))
        top, left = round((tall - 16) / 2), round((wide - 16) / 2)
        expected = resized[top : top + 16, left : left + 16]
    np.testing.assert_allclose(found, expected, atol=1)


def test_what_networks_are_given():
    white = np.full((1, 20, 30, 3), 255, np.uint8)
    clip = (1 - preprocessing.MEAN) / preprocessing.DEVIATION
    np.testing.assert_allclose(preprocessing.clip_whole(white, 8)[0, 4, 4], clip, rtol=1e-5)
    np.testing.assert_allclose(preprocessing.clip_cropped(white, 8)[0, 4, 4], clip, rtol=1e-5)
    np.testing.assert_allclose(preprocessing.dinov2_whole(white, 8)[0, 4, 4, 0], (1 - 0.485) / 0.229, rtol=1e-5)
