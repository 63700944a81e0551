"""Which pixels are painted anew: a black and white picture of the user's, or a rectangle."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from glowdiff.errors import ConfigError, require
from glowdiff.pictures.inputs import fitted
from glowdiff.pictures.reader import Refused, read_image, read_size

_HALF = 128


def from_file(mask: str, image: str, shape: tuple[int, int]) -> np.ndarray:
    """Bool [H, W], true where the mask is white: there the image is painted anew.

    The mask is cut and resized as the image is, and what is at least half white then is white.

    Args:
      mask: a picture of black and white pixels, as large as the image.
      image: the file that it belongs to.
      shape: height and width of the model's images.

    Raises:
      ConfigError: a file cannot be read; the mask has another size, other colours, transparency, or nothing white that
        the model would see.
    """
    try:
        size, other = read_size(Path(image).expanduser()), read_size(Path(mask).expanduser())
        pixels = _black_and_white(Path(mask).expanduser())
    except Refused as reason:
        raise ConfigError(f"--mask: {mask} cannot be used: {reason}.") from reason
    require(
        size == other,
        f"--mask: {mask} is {other[1]}x{other[0]} pixels, but {image} is {size[1]}x{size[0]}; it must be as large.",
    )
    require(bool(pixels.any()), f"--mask: {mask} is all black; what is to be painted anew must be white.")
    small = np.asarray(fitted(Image.fromarray(pixels), shape)) >= _HALF
    require(
        bool(small.any()),
        f"--mask: nothing of what is white in {mask} is left when it is cut to the centre and resized to "
        f"{shape[1]}x{shape[0]} pixels, as the image is: paint a larger region, nearer to the middle.",
    )
    return small


def from_shares(text: str, shape: tuple[int, int]) -> np.ndarray:
    """Bool [H, W] of LEFT:TOP:RIGHT:BOTTOM, shares of the sides of the image that the model sees; true within.

    >>> from_shares("0.5:0:1:1", (1, 4))
    array([[False, False,  True,  True]])

    Raises:
      ConfigError: it is no such rectangle, or no pixel's middle lies within.
    """
    message = f"--erase is {text!r}; it must be LEFT:TOP:RIGHT:BOTTOM, shares such as 0.25:0.25:0.75:0.75."
    try:
        left, top, right, bottom = (float(part) for part in text.split(":"))
    except ValueError as error:
        raise ConfigError(message) from error
    require(0 <= left < right <= 1 and 0 <= top < bottom <= 1, message)
    rows, columns = ((np.arange(side) + 0.5) / side for side in shape)
    inside = ((rows >= top) & (rows < bottom))[:, None] & ((columns >= left) & (columns < right))[None]
    require(bool(inside.any()), f"--erase is {text!r}, in which no pixel of {shape[1]}x{shape[0]} lies.")
    return inside


def _black_and_white(path: Path) -> np.ndarray:
    """Pixels uint8 [H, W] of a mask, 0 or 255.

    Raises:
      Refused: it cannot be read, or has other pixels.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        pixels = read_image(path, None)
        with Image.open(path) as picture:
            alpha = picture.convert("RGBA").getchannel("A") if picture.has_transparency_data else None
            seen_through = alpha is not None and (np.asarray(alpha) < 255).any()
    if seen_through:
        raise Refused("it has transparent pixels, which are neither black nor white; save it without transparency")
    if (pixels != pixels[..., :1]).any():
        raise Refused("it has colours; a mask is black (stays) and white (is painted anew)")
    gray = float(((pixels > 0) & (pixels < 255)).mean())
    if gray:
        raise Refused(
            f"{100 * gray:.2g}% of its pixels are gray; a mask is black (stays) and white (is painted anew), with hard "
            "edges, in a format that does not blur them, such as PNG"
        )
    return pixels[..., 0]
