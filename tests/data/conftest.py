"""A folder of every kind of image file, and data sets small enough to be prepared in each test."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glowdiff.config.sections import DataConfig
from glowdiff.data.dataset import Dataset, load

SIDE = 16


@pytest.fixture(scope="session")
def store() -> str:
    """Return a data directory shared by all tests that do not look into it."""
    return os.environ["GLOWDIFF_DATA"]


@pytest.fixture(scope="session")
def digits(store) -> Dataset:
    return load(DataConfig(name="digits", dir=store))


@pytest.fixture(scope="session")
def photos(store) -> Dataset:
    return load(DataConfig(name="photos", size=16, dir=store))


def save_pictures(folder: Path, count: int, *, size: tuple[int, int] = (SIDE, SIDE), seed: int = 0) -> None:
    """Write `count` RGB PNGs of width and height `size`, all different, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for index in range(count):
        pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:03d}.png")


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and has next to no data."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


@pytest.fixture
def good_files(tmp_path) -> Path:
    """Return a folder with one readable file of every kind, 16x16 pixels when upright."""
    folder = tmp_path / "good"
    folder.mkdir()
    ramp = np.repeat(np.arange(SIDE, dtype=np.uint8)[None] * 16, SIDE, 0)  # 0 ... 240 from left to right
    red = Image.new("RGB", (SIDE, SIDE), (200, 30, 40))
    Image.fromarray(ramp).save(folder / "gray.png")
    red.convert("CMYK").save(folder / "cmyk.jpg")
    red.quantize(8).save(folder / "palette.png")
    red.save(folder / "webp.webp", lossless=True)
    red.save(folder / "bitmap.bmp")
    red.save(folder / "tagged.tif")
    Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0)).save(folder / "transparent.png")
    Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 128)).save(folder / "half.png")
    Image.new("LA", (SIDE, SIDE), (0, 0)).save(folder / "gray_alpha.png")
    Image.new("P", (SIDE, SIDE), 0).save(folder / "palette_alpha.png", transparency=0)
    Image.new("1", (SIDE, SIDE), 1).save(folder / "bilevel.png")
    Image.fromarray(ramp.astype(np.uint16) * 257).save(folder / "sixteen.png")
    first, second = Image.new("RGB", (SIDE, SIDE), "blue"), Image.new("RGB", (SIDE, SIDE), "green")
    first.save(folder / "animated.gif", save_all=True, append_images=[second])
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(ramp).convert("RGB").save(folder / "rotated.png", exif=exif)
    return folder


@pytest.fixture
def bad_files(tmp_path) -> Path:
    """Return a folder with one unusable file of every kind."""
    folder = tmp_path / "bad"
    folder.mkdir()
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for kind, file in (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("GIF", "gif")):
        whole = folder / f"whole.{file}"
        picture.save(whole, kind)
        content = whole.read_bytes()
        half = len(content) // 2
        (folder / f"truncated.{file}").write_bytes(content[:half])
        if kind != "GIF":
            (folder / f"zeros.{file}").write_bytes(content[:half] + bytes(len(content) - half))
        whole.unlink()
    (folder / "empty.png").write_bytes(b"")
    (folder / "README.txt").write_text("not an image")
    (folder / "text.jpg").write_text("not an image either")
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (folder / "bomb.png").write_bytes(png_header(20_000, 20_000))
    (folder / "large.png").write_bytes(png_header(10_000, 10_000))
    Image.fromarray(np.ones((SIDE, SIDE), np.float32)).save(folder / "float.tif")
    Image.fromarray(np.full((SIDE, SIDE), 2**20, np.int32)).save(folder / "deep.tif")
    return folder
