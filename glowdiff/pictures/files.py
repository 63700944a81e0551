"""Pictures for people: grids, and files of images.

Pictures whose data set has an attribution carry it: as the PNG's copyright, and in a text file beside it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from etils import epath
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from glowdiff.config.numbers import CELLS
from glowdiff.errors import require
from glowdiff.files import write_whole

ATTRIBUTION_FILE = "ATTRIBUTION.txt"
PIXELS = 2**28  # of a picture that people look at


def to_display(images: np.ndarray, levels: int) -> np.ndarray:
    """Integers 0 ... levels - 1 as 0 ... 255, the only place where levels are scaled for the eye."""
    if levels == 256:
        return images
    return np.round(images.astype(np.float32) * (255 / (levels - 1))).astype(np.uint8)


def check_cells(what: str, count: int, shape: tuple[int, ...] = (1, 1), hint: str = "") -> None:
    """Raise `ConfigError` unless a picture of `count` small ones could be looked at.

    Args:
      what: asks for so many, for the message, such as "--num is 1000000".
      count: of small pictures.
      shape: height and width of each, as it is shown.
      hint: what to do instead.
    """
    sides = f" of {shape[0]}x{shape[1]} pixels" if shape[0] > 1 else ""
    require(
        count <= CELLS and count * math.prod(shape[:2]) <= PIXELS,
        f"{what}: a picture of {count:,} small ones{sides} is more than anybody looks at; at most "
        f"{min(CELLS, PIXELS // math.prod(shape[:2])):,} go into one.{hint}",
    )


def grid(images: np.ndarray, levels: int, columns: int | None = None, gap: int = 1) -> np.ndarray:
    """One picture [H, W, 3] of images [N, h, w, C], row by row; C is 1, 3, or else its first channel is shown."""
    images = to_display(np.asarray(images), levels)
    if images.shape[-1] != 3:
        images = np.repeat(images[..., :1], 3, axis=-1)
    n, height, width, _ = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    canvas = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = gap + i // columns * (height + gap), gap + i % columns * (width + gap)
        canvas[top : top + height, left : left + width] = image
    return canvas


def write_png(path: epath.PathLike, picture: np.ndarray, least: int = 512, *, attribution: str = "") -> None:
    """Write a picture [H, W, 3], enlarged by a whole factor until a side has `least` pixels.

    Args:
      path: of the PNG.
      picture: uint8.
      least: pixels.
      attribution: the data set's (`spec.attribution`); empty: none is due.
    """
    notes = PngInfo()
    if attribution:
        notes.add_itxt("Copyright", attribution)
    buffer = io.BytesIO()
    _enlarged(picture, least).save(buffer, format="PNG", pnginfo=notes)
    _write(epath.Path(path), buffer.getvalue(), attribution)


def write_gif(
    path: epath.PathLike, frames: Sequence[np.ndarray], least: int = 512, *, seconds: float = 3.0, attribution: str = ""
) -> None:
    """Write pictures [H, W, 3] as an endless film, enlarged like a PNG; the last one is shown for a while.

    Args:
      path: of the GIF.
      frames: uint8, in order.
      least: pixels.
      seconds: from the first to the last.
      attribution: as for `write_png`.
    """
    first, *rest = [_enlarged(frame, least) for frame in frames]
    each = max(20, round(1000 * seconds / len(frames)))
    buffer = io.BytesIO()
    times = [*[each] * len(rest), 2000]
    first.save(buffer, "GIF", save_all=True, append_images=rest, loop=0, duration=times, comment=attribution)
    _write(epath.Path(path), buffer.getvalue(), attribution)


def write_npz(
    path: epath.PathLike,
    images: np.ndarray,
    labels: np.ndarray | None,
    levels: int,
    *,
    prompts: Sequence[str] = (),
    attribution: str = "",
) -> None:
    """Write images as integers: `arr_0` [N, H, W, C], `levels`; if any `arr_1` (labels), `prompts`, `attribution`."""
    arrays = {"arr_0": images, "levels": np.int32(levels)}
    if labels is not None:
        arrays["arr_1"] = labels
    if prompts:
        arrays["prompts"] = np.array(prompts)
    if attribution:
        arrays["attribution"] = np.array(attribution)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    _write(epath.Path(path), buffer.getvalue(), attribution)


def _enlarged(picture: np.ndarray, least: int) -> Image.Image:
    factor = max(1, least // max(picture.shape[:2]))
    image = Image.fromarray(picture)
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def _write(target: epath.Path, content: bytes, attribution: str) -> None:
    """Write a file, and add `attribution` to the text beside it unless it is there already."""
    write_whole(target, content)
    if attribution:
        beside = target.parent / ATTRIBUTION_FILE
        text = beside.read_text(encoding="utf-8") if beside.exists() else ""
        if attribution not in text:
            beside.write_text(f"{text}{attribution}\n", encoding="utf-8")
