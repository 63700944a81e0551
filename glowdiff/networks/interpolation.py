"""Images of other sizes, as other programs make them: each way to resample an axis is a matrix.

They differ in where pixels are taken to be, in what is done when images shrink, in the cubic and at the edges; every
published feature is of images that were resized in one of these ways.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

KEYS = -0.5  # the parameter of the cubic (Keys, 1981) in PIL and JAX;
TORCH = -0.75  # PyTorch's and OpenCV's


def linear_corner(size: int, out: int) -> np.ndarray:
    """TensorFlow 1's bilinear matrix [out, size]: pixel i of the output is at i * size / out, not half a pixel on."""
    return _linear(np.arange(out) * (size / out), size)


def linear_centre(size: int, out: int) -> np.ndarray:
    """The bilinear matrix [out, size] with half-pixel centres and, when shrinking, no more neighbours than two."""
    return _linear((np.arange(out) + 0.5) * (size / out) - 0.5, size)


def cubic(size: int, out: int, step: float | None = None, a: float = TORCH) -> np.ndarray:
    """The bicubic matrix [out, size] of the nearest four pixels, edges repeated.

    Args:
      size: of the input.
      out: of the output.
      step: pixels of the input between two of the output; None: size / out.
      a: of the cubic.
    """
    centres = (np.arange(out) + 0.5) * (size / out if step is None else step) - 0.5
    first = np.floor(centres).astype(int) - 1
    matrix = np.zeros((out, size))
    for tap in range(4):
        weights = _keys(centres - (first + tap), a)
        np.add.at(matrix, (np.arange(out), np.clip(first + tap, 0, size - 1)), weights)
    return matrix


def cubic_smooth(size: int, out: int) -> np.ndarray:
    """PIL's bicubic matrix [out, size], also JAX's: wider when shrinking, and of what lies within the image alone."""
    widening = max(1.0, size / out)
    centres = (np.arange(out) + 0.5) * (size / out) - 0.5
    weights = _keys((np.arange(size)[None] - centres[:, None]) / widening, KEYS)
    return weights / weights.sum(1, keepdims=True)


def resample(images: jax.Array, rows: np.ndarray, columns: np.ndarray, *, rounded: bool = False) -> jax.Array:
    """Images [B, H, W, C] of numbers -> float32 [B, h, w, C], by matrices [h, H] and [w, W].

    Args:
      images: of any type of numbers.
      rows: for the vertical axis.
      columns: for the horizontal one, which comes first.
      rounded: to integers from 0 to 255 after either axis, as PIL does with pictures of bytes.
    """

    def stored(x: jax.Array) -> jax.Array:
        return jnp.clip(jnp.floor(x + 0.5), 0, 255) if rounded else x

    highest = jax.lax.Precision.HIGHEST
    x = images.astype(jnp.float32)
    x = stored(jnp.einsum("bhvc,wv->bhwc", x, columns.astype(np.float32), precision=highest))
    return stored(jnp.einsum("buwc,hu->bhwc", x, rows.astype(np.float32), precision=highest))


def _linear(positions: np.ndarray, size: int) -> np.ndarray:
    positions = np.clip(positions, 0, size - 1)
    low = np.minimum(positions.astype(int), size - 1)
    matrix = np.zeros((len(positions), size))
    np.add.at(matrix, (np.arange(len(positions)), low), 1 - (positions - low))
    np.add.at(matrix, (np.arange(len(positions)), np.minimum(low + 1, size - 1)), positions - low)
    return matrix


def _keys(x: np.ndarray, a: float) -> np.ndarray:
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x**2 + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
