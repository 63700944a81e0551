"""Every kind of image file becomes the right RGB pixels, and every kind of damage is refused by name."""

from __future__ import annotations

import io
import os
import warnings

import numpy as np
import pytest
from PIL import Image, ImageFile

from glowdiff.pictures.reader import Refused, read_image, read_size
from tests.pictures import kinds

RAMP = np.arange(16) * 16


@pytest.mark.parametrize(
    ("file", "colour"),
    [
        ("cmyk.jpg", (200, 30, 40)),
        ("palette.png", (200, 30, 40)),
        ("webp.webp", (200, 30, 40)),
        ("bitmap.bmp", (200, 30, 40)),
        ("tagged.tif", (200, 30, 40)),
        ("transparent.png", (255, 255, 255)),
        ("half.png", (127, 127, 127)),
        ("gray_alpha.png", (255, 255, 255)),
        ("palette_alpha.png", (255, 255, 255)),
        ("bilevel.png", (255, 255, 255)),
        ("animated.gif", (0, 0, 255)),
    ],
)
def test_colours_of_every_kind(good_files, file, colour):
    pixels = read_image(good_files / file, None)
    assert (pixels.shape, pixels.dtype) == ((16, 16, 3), np.uint8)
    np.testing.assert_allclose(pixels.mean((0, 1)), colour, atol=3)
    assert pixels.std((0, 1)).max() < 3


@pytest.mark.parametrize("file", ["gray.png", "sixteen.png"])
def test_gray_is_repeated_and_sixteen_bits_are_rescaled(good_files, file):
    np.testing.assert_array_equal(read_image(good_files / file, None)[3], np.stack([RAMP] * 3, -1))


def test_exif_rotation_is_applied(good_files):
    np.testing.assert_array_equal(read_image(good_files / "rotated.png", None)[:, 5, 1], RAMP)


def test_exif_rotation_swaps_the_sides(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg", exif=exif)
    assert read_size(tmp_path / "a.jpg") == (30, 20)
    assert read_image(tmp_path / "a.jpg", None).shape == (30, 20, 3)


def test_resizing_cuts_the_centre_and_is_antialiased(tmp_path):
    pixels = np.zeros((32, 96, 3), np.uint8)
    pixels[:, 32:64] = np.indices((32, 32)).sum(0)[..., None] % 2 * 255  # a fine chessboard in the middle square
    Image.fromarray(pixels).save(tmp_path / "a.png")
    small = read_image(tmp_path / "a.png", 8)
    assert small.shape == (8, 8, 3)
    np.testing.assert_allclose(small[1:-1, 1:-1], 127, atol=6)  # averaged, not picked; no black from the sides


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("truncated.jpg", "end is missing"),
        ("truncated.png", "cannot be read"),
        ("truncated.webp", "cannot be read"),
        ("truncated.gif", "cannot be read"),
        ("zeros.jpg", "end is missing"),
        ("zeros.png", "cannot be read"),
        ("zeros.webp", "filled with zeros"),
        ("empty.png", "empty"),
        ("README.txt", "not an image"),
        ("text.jpg", "not an image"),
        ("Thumbs.db", "not an image"),
        ("bomb.png", "decompression bomb"),
        ("large.png", "10000x10000 pixels"),
        ("float.tif", "floating-point"),
        ("deep.tif", "32-bit"),
        ("missing.png", "No such file"),
    ],
)
def test_unusable_files_are_refused_with_a_reason(bad_files, file, reason):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(Refused, match=reason) as refusal:
            read_image(bad_files / file, None)
    assert str(bad_files) not in str(refusal.value)


@pytest.mark.parametrize("file", ["bomb.png", "large.png"])
@pytest.mark.filterwarnings("ignore")
def test_bombs_are_refused_from_the_header(bad_files, file, monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("decoded"))
    with pytest.raises(Refused, match="bomb"):
        read_size(bad_files / file)


def test_no_half_grey_images_even_if_another_library_asked_for_them(bad_files, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(Refused):
        read_image(bad_files / "truncated.jpg", None)


PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8))


def saved(kind: str, **options) -> bytes:
    content = io.BytesIO()
    PHOTO.save(content, kind, **options)
    return content.getvalue()


def with_thumbnail() -> bytes:
    """A JPEG that holds another one in its EXIF, with an end of its own."""
    thumbnail = saved("JPEG")
    segment = b"Exif\0\0" + thumbnail
    whole = saved("JPEG")
    return whole[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + whole[2:]


JPEGS = {
    "plain": saved("JPEG"),
    "progressive": saved("JPEG", progressive=True),
    "restarts": saved("JPEG", restart_marker_rows=1),
    "thumbnail": with_thumbnail(),
    "comment": saved("JPEG", comment=b"\xff\xd9 \xff\xda"),
    "padded": saved("JPEG")[:-2] + b"\xff" * 100_000 + b"\xff\xd9",
}
FILM = np.random.default_rng(1).bytes(300_000)  # both markers occur in it by chance


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("behind", [b"", FILM, b"\xff\xda", bytes(100), saved("JPEG")[:500]], ids=range(5))
def test_what_is_behind_the_end_of_a_jpeg_does_not_matter(name, behind, tmp_path):
    (tmp_path / "a.jpg").write_bytes(JPEGS[name] + behind)
    (tmp_path / "b.jpg").write_bytes(JPEGS[name])
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg", None), read_image(tmp_path / "b.jpg", None))


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("left", [0.5, 0.9, 0.999])
def test_a_jpeg_without_its_end_is_refused(name, left, tmp_path):
    whole = JPEGS[name]
    (tmp_path / "a.jpg").write_bytes(whole[: int(left * len(whole))])
    with pytest.raises(Refused, match=r"its end is missing|cannot be read \(Truncated"):
        read_image(tmp_path / "a.jpg", None)


def test_of_several_pictures_the_first_is_read_and_the_others_may_be_damaged(tmp_path):
    both = saved("MPO", save_all=True, append_images=[PHOTO.rotate(90)])
    (tmp_path / "a.jpg").write_bytes(saved("JPEG"))
    for content in (both, both + FILM, both[:-500]):
        (tmp_path / "a.mpo").write_bytes(content)
        np.testing.assert_array_equal(read_image(tmp_path / "a.mpo", None), read_image(tmp_path / "a.jpg", None))
    (tmp_path / "a.mpo").write_bytes(both[: len(both) // 3])
    with pytest.raises(Refused, match="its end is missing"):
        read_image(tmp_path / "a.mpo", None)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
@pytest.mark.parametrize("behind", [bytes(100), FILM], ids=["zeros", "film"])
def test_nor_does_it_in_other_formats(kind, behind, tmp_path):
    (tmp_path / "a").write_bytes(saved(kind) + behind)
    assert read_image(tmp_path / "a", None).shape == (64, 48, 3)


def png(values: np.ndarray) -> bytes:
    """Of 16 bits, which Pillow writes in gray only."""
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[values.shape[-1]]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return kinds.png_header(*values.shape[1::-1], depth=16, colour=colour, pixels=rows)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_twelve_bits_in_sixteen_are_refused_with_what_to_do(channels, tmp_path):
    values = np.random.default_rng(0).integers(0, 4096, (8, 8, channels))
    values[..., channels - 1 + channels % 2 :] = 65535  # opaque
    (tmp_path / "a.png").write_bytes(png(values))
    with pytest.raises(
        Refused, match="are all below 4096 and nearly black; if they are of 12 bits, multiply them by 16"
    ):
        read_image(tmp_path / "a.png", None)
    (tmp_path / "a.png").write_bytes(png(np.minimum(values * 16, 65535)))
    assert read_image(tmp_path / "a.png", None).max() > 200
    (tmp_path / "a.png").write_bytes(png(values * 0))
    read_image(tmp_path / "a.png", None)  # black is black


@pytest.mark.parametrize("path", ["pipe", "/dev/zero", "folder"])
def test_only_files_are_read(path, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for read in (lambda path: read_image(path, None), read_size):
        with pytest.raises(Refused, match=r"cannot be read \(it is a"):
            read(tmp_path / path)
