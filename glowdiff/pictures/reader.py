"""One image file of a user's folder, whatever its format, as RGB pixels; or the reason why it is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from glowdiff.files import check_ordinary
from glowdiff.pictures.ends import jpeg_is_whole, riff

FILE_LIMIT = 2**30  # bytes of a file
PIXEL_LIMIT = 89_478_485  # of a file, by its header; Pillow's own limit, 256 MiB decoded
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000")
_ORIENTATION = 0x0112  # EXIF tag; 5 to 8 swap the sides
_ZEROS = 64  # no WebP or AVIF file ends in so many
_TWELVE_BITS = 2**4  # so many times is their range in that of 16 bits


class Refused(Exception):
    """A file that is not used; the message says why."""


def read_size(path: Path) -> tuple[int, int]:
    """Height and width of the upright image at `path`, from its header.

    Raises:
      Refused: the file is empty, is no image, no file but a pipe or a device, or has more than `PIXEL_LIMIT` pixels.
    """
    try:
        with _open(path) as picture:
            width, height = picture.size
            # Asked for EXIF that its header does not hold, Pillow would decode a whole PNG to look behind the pixels.
            exif = {} if picture.format == "PNG" and "exif" not in picture.info else picture.getexif()
            turned = exif.get(_ORIENTATION, 1) in (5, 6, 7, 8)
            return (width, height) if turned else (height, width)
    except Refused:
        raise
    except Exception as error:
        raise Refused(_unreadable(error)) from error


def read_image(path: Path, size: int | None) -> np.ndarray:
    """The image at `path` as uint8 [H, W, 3].

    Rotation by EXIF is applied, transparency is composited on white, 16-bit values are rescaled, and of an animation
    or several pictures the first one is taken; what is behind its end does not matter. Colour profiles are ignored.

    Args:
      path: the file.
      size: cut the centre square and resize it to this side; None: keep the image as it is.

    Raises:
      Refused: as for `read_size`, and when the pixels are damaged or incomplete, or their range is not known.
    """
    # Another library may have switched this on, and it gives half-grey images.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        _check_whole(path)
        with _open(path) as picture:
            decoder = str(getattr(picture, "tile", ""))  # which makes modes of 8 bits of 16, too
            picture.load()
            if picture.mode.startswith("I") or ";16" in decoder:
                _check_range(picture)
            upright = ImageOps.exif_transpose(picture)
            colours = _as_rgb(upright)
            return np.array(colours if size is None else centre_square(colours, size))
    except Refused:
        raise
    except Exception as error:  # damaged files make Pillow raise nearly anything
        raise Refused(_unreadable(error)) from error


def centre_square(picture: Image.Image, size: int) -> Image.Image:
    """The largest square in the middle of `picture`, resized (antialiased) to `size` pixels."""
    side = min(picture.size)
    if picture.size == (size, size):
        return picture
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    box = (left, top, left + side, top + side)
    return picture.resize((size, size), Image.Resampling.LANCZOS, box=box)


def _open(path: Path) -> Image.Image:
    """The image with its header read only."""
    check_ordinary(path, FILE_LIMIT)
    if path.stat().st_size == 0:
        raise Refused("the file is empty")
    try:
        picture = Image.open(path, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise Refused(f"it has more than {PIXEL_LIMIT:,} pixels (a decompression bomb?)") from error
    except UnidentifiedImageError as error:
        raise Refused("it is not an image, or not in a format that is read: " + ", ".join(FORMATS)) from error
    width, height = picture.size
    if width * height > PIXEL_LIMIT:
        picture.close()
        raise Refused(f"it has {width}x{height} pixels, more than {PIXEL_LIMIT:,} (a decompression bomb?)")
    return picture


def _check_whole(path: Path) -> None:
    """Refuse damage that Pillow decodes without complaint: files whose end is missing or was filled with zeros."""
    with _open(path) as picture:
        kind = picture.format
        if kind == "PNG":
            picture.verify()  # checks the sums of all chunks, which loading does not
    if kind in ("JPEG", "MPO"):
        if not jpeg_is_whole(path.read_bytes()):
            raise Refused("its end is missing (an unfinished download?)")
    elif kind in ("WEBP", "AVIF"):
        content = path.read_bytes()
        if not any((riff(content) if kind == "WEBP" else content)[-_ZEROS:]):
            raise Refused("its end is filled with zeros (an unfinished download?)")


def _check_range(picture: Image.Image) -> None:
    """Refuse a camera's 12 bits in a file of 16: of 0 ... 65535, as which they are read, they are nearly black."""
    colours = np.asarray(picture)
    colours = colours[..., :-1] if picture.mode in ("RGBA", "LA") else colours
    most = 2**16 if picture.mode.startswith("I") else 2**8
    if 0 < colours.max() < most // _TWELVE_BITS:
        raise Refused(
            "its values of 16 bits, read as 0 ... 65535, are all below 4096 and nearly black; if they are of 12 bits, "
            "multiply them by 16"
        )


def _as_rgb(picture: Image.Image) -> Image.Image:
    """`picture`, of any mode, as RGB."""
    if picture.mode == "I" or picture.mode.startswith("I;"):
        return _rescaled(np.asarray(picture).astype(np.int32))
    if picture.mode == "F":
        raise Refused("its pixels are floating-point numbers, whose range is not known")
    if "transparency" in picture.info or picture.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        opaque = Image.new("RGBA", picture.size, "white")
        opaque.alpha_composite(picture.convert("RGBA"))
        return opaque.convert("RGB")
    return picture.convert("RGB")


def _rescaled(values: np.ndarray) -> Image.Image:
    """Gray values of 16 bits, int32 [H, W] in 0 ... 65535, as RGB; Pillow itself would clip them at 255."""
    if values.min() < 0 or values.max() > 65535:
        raise Refused("its pixels are 32-bit integers, whose range is not known")
    return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")


def _unreadable(error: Exception) -> str:
    """A reason for any error of reading a file, without its address in memory or its path."""
    text = str(error) if isinstance(error, (OSError, SyntaxError, ValueError)) else ""
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
    return f"it cannot be read ({text or type(error).__name__})"
