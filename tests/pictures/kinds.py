"""Files of every kind that a person may have among pictures."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 16


def png_header(width: int, height: int, depth: int = 8, colour: int = 2, pixels: bytes = bytes(100)) -> bytes:
    """A PNG that claims a size, and has next to no data unless it gets some."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(pixels))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


def write_good(folder: Path) -> Path:
    """A new folder with one readable file of every kind, 16x16 pixels when upright."""
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


def write_bad(folder: Path) -> Path:
    """A new folder with one unusable file of every kind."""
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
