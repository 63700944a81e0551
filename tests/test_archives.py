"""Archives of arrays: only what is asked for is read, and nothing that cannot be what it says."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from glowdiff import archives
from glowdiff.archives import open_npz
from glowdiff.errors import ConfigError

ARRAY = np.arange(6, dtype=np.uint8).reshape(2, 3)


def npy(array: np.ndarray, version: tuple[int, int] = (1, 0)) -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array(content, array, version)
    return content.getvalue()


def header(shape: tuple[int, ...], dtype: str = "|u1") -> bytes:
    """Of an array that may lack its values."""
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": dtype, "fortran_order": False, "shape": shape})
    return content.getvalue()


def write(path: Path, **members: bytes) -> Path:
    """An archive whose members are called as the keywords, but for their last underscore."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(".".join(name.rsplit("__", 1)), content)
    return path


def read(path: Path, name: str = "a") -> np.ndarray:
    with open_npz(path, "--weights", "an .npz file", "np.savez(path, a)") as arrays:
        return arrays[name]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back(tmp_path, save):
    save(tmp_path / "w.npz", a=ARRAY, b=np.array("text"), c=np.float32(2))
    (tmp_path / "link.npz").symlink_to(tmp_path / "w.npz")
    with open_npz(tmp_path / "link.npz", "--weights", "an .npz file", "np.savez(path, a)") as arrays:
        assert list(arrays) == ["a", "b", "c"]
        assert (arrays.header("a").shape, arrays.header("a").dtype) == ((2, 3), np.uint8)
        np.testing.assert_array_equal(arrays["a"], ARRAY)
        assert (str(arrays["b"]), float(arrays["c"])) == ("text", 2)
        assert arrays.get("d") is None


@pytest.mark.parametrize("other", [b"text", npy(np.zeros(9)), header((10**12,)), npy(np.array([{}], object))])
def test_what_nobody_asks_for_is_not_read(tmp_path, other, monkeypatch):
    path, opened = write(tmp_path / "w.npz", a__npy=npy(ARRAY), other__npy=other), set()
    original = zipfile.ZipFile.open
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda file, name: opened.add(name.filename) or original(file, name))
    np.testing.assert_array_equal(read(path), ARRAY)
    assert opened == {"a.npy"}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a": b"read me"}, "whose a is no array of numbers; save plain arrays with np"),
        ({"a__npy": b"garbage" * 99}, "whose a is no array of numbers"),
        ({"a__npy": b""}, "whose a is no array of numbers"),
        ({"a__npy": npy(ARRAY, (2, 0))}, "whose a is no array of numbers"),
        ({"a__npy": header((10**6,)) + b"12"}, "whose a has 2 bytes, but 1,000,000 by its header"),
        ({"a__npy": header((1,)) + b"12"}, "whose a has 2 bytes, but 1 by its header"),
        ({"a__npy": header((-1, -2)) + b"12"}, "a damaged .npz file"),
        ({"a__npy": header((2,), "|O") + b"12"}, "pickled Python objects"),
    ],
)
def test_members_that_are_no_arrays_are_a_line(tmp_path, members, message):
    with pytest.raises(ConfigError, match=message) as error:
        read(write(tmp_path / "w.npz", **members))
    assert "\n" not in str(error.value)


def test_damage_is_a_line(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.arange(99))
    whole = (tmp_path / "w.npz").read_bytes()
    for content in (whole[:200], whole.replace(bytes(np.arange(40, 50)), b"x" * 80)):
        (tmp_path / "w.npz").write_bytes(content)
        with pytest.raises(ConfigError, match=r"a damaged \.npz file"):
            read(tmp_path / "w.npz")


def test_an_array_that_is_too_well_compressed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LIMIT", 10_000)
    np.savez_compressed(tmp_path / "w.npz", a=np.zeros((500, 500), np.uint8), b=np.zeros(9_000, np.uint8))
    assert read(tmp_path / "w.npz", "b").shape == (9_000,)
    with pytest.raises(ConfigError, match=r"a would have 250,000 bytes; .*10,000 bytes .*uncompressed with np"):
        read(tmp_path / "w.npz")
    np.savez(tmp_path / "w.npz", a=np.zeros((500, 500), np.uint8))
    assert read(tmp_path / "w.npz").shape == (500, 500)


def test_the_bound_is_that_of_all_arrays_together(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LIMIT", 400_000)
    np.savez_compressed(tmp_path / "w.npz", **{f"part{i}": np.zeros(150_000, np.uint8) for i in range(3)})
    with (
        pytest.raises(ConfigError, match="part2 would have"),
        open_npz(tmp_path / "w.npz", "--weights", "an .npz file", "np.savez(path, a)") as arrays,
    ):
        dict(arrays)


def test_only_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    for path, message in (
        (tmp_path / "pipe.npz", "a named pipe"),
        (Path("/dev/zero"), "a device"),
        (tmp_path, "a fold"),
    ):
        with pytest.raises(ConfigError, match=rf"which cannot be read \(it is {message}"):
            read(path)
