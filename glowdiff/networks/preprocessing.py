"""From pictures of bytes to what published feature networks are given; the way is part of every published figure.

Each function takes uint8 [B, H, W, 3] of any size and returns float32 [B, side, side, 3], but for `unit_whole`.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from glowdiff.networks.clip import DEVIATION, MEAN
from glowdiff.networks.interpolation import cubic_smooth, linear_centre, linear_corner, resample

INCEPTION_SIDE = 299
_IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])  # of red, green, blue, where black is 0 and white is 1
_IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225])


def inception_tensorflow(images: jax.Array) -> jax.Array:
    """The evaluator of the TensorFlow graph, as in ADM's, torch-fidelity's and EDM's: (x - 128) / 128."""
    return (_square(images, INCEPTION_SIDE, linear_corner) - 128) / 128


def inception_pytorch_fid(images: jax.Array) -> jax.Array:
    """The package pytorch-fid: 2 x / 255 - 1."""
    return 2 * (_square(images, INCEPTION_SIDE, linear_centre) / 255) - 1


def inception_clean(images: jax.Array) -> jax.Array:
    """The package clean-fid (Parmar et al., 2022): smoothed when shrinking, not rounded, (x - 128) / 128."""
    return (jnp.clip(_square(images, INCEPTION_SIDE, cubic_smooth), 0, 255) - 128) / 128


def clip_cropped(images: jax.Array, side: int) -> jax.Array:
    """CLIP's own (Radford et al., 2021): the shorter side becomes `side`, and the centre is cut out."""
    return _normalised(_cropped(images, side, side) / 255, MEAN, DEVIATION)


def clip_whole(images: jax.Array, side: int) -> jax.Array:
    """CMMD's (Jayasumana et al., 2024): all of the image in a square, not rounded."""
    return _normalised(_square(images, side, cubic_smooth) / 255, MEAN, DEVIATION)


def dinov2_whole(images: jax.Array, side: int) -> jax.Array:
    """Those of Stein et al. (2023): all of the image in a square, by PIL."""
    pixels = _square(images, side, cubic_smooth, rounded=True)
    return _normalised(pixels / 255, _IMAGENET_MEAN, _IMAGENET_DEVIATION)


def efficientnet_lite(images: jax.Array, side: int, shorter: int) -> jax.Array:
    """The shorter side becomes `shorter`, `side` is cut out of the centre, (x - 127) / 128; of that size as it is."""
    whole = images.shape[1:3] == (side, side)
    return ((images.astype(jnp.float32) if whole else _cropped(images, side, shorter)) - 127) / 128


def unit_whole(images: jax.Array) -> jax.Array:
    """As they are, from -1 to 1, of any size."""
    return images.astype(jnp.float32) * (2 / 255) - 1


def _square(
    images: jax.Array, side: int, matrix: Callable[[int, int], np.ndarray], *, rounded: bool = False
) -> jax.Array:
    height, width = images.shape[1:3]
    return resample(images, matrix(height, side), matrix(width, side), rounded=rounded)


def _cropped(images: jax.Array, side: int, shorter: int) -> jax.Array:
    """By PIL so that the shorter side is `shorter`; then `side` x `side` pixels of the centre."""
    height, width = images.shape[1:3]
    least = min(height, width)
    tall, wide = shorter * height // least, shorter * width // least
    x = resample(images, cubic_smooth(height, tall), cubic_smooth(width, wide), rounded=True)
    top, left = round((tall - side) / 2), round((wide - side) / 2)
    return x[:, top : top + side, left : left + side]


def _normalised(x: jax.Array, mean: np.ndarray, deviation: np.ndarray) -> jax.Array:
    mean, deviation = (values.astype(np.float32)[None, None, None] for values in (mean, deviation))
    return (x - mean) / deviation
