"""PyTorch's files as it writes them, made by hand: read without it, and without running what they hold."""

from __future__ import annotations

import builtins
import io
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from glowdiff.errors import ConfigError
from glowdiff.importers.weights_files import read

ARRAYS = {
    "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b.bias": np.ones(2, np.float16),
    "b.num_batches_tracked": np.array(7),
}  # fmt: skip
STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage"}


class Call:
    """Pickled as a call of a name."""

    def __init__(self, module, name, *arguments):
        self.module, self.name, self.arguments = module, name, arguments


class Name(Call):
    """Pickled as a name alone."""


class Module:
    """Pickled as a module of a program, which is called `__torch__.something`."""

    def __init__(self, attributes):
        self.attributes = attributes


class Storage:
    def __init__(self, key, array):
        self.key, self.array = key, array


class Pickler(pickle._Pickler):
    """Writes names of modules that are not there, and places of arrays."""

    def __init__(self, file, legacy):
        super().__init__(file, protocol=2)
        self.legacy = legacy

    def persistent_id(self, obj):
        if not isinstance(obj, Storage):
            return None
        kind = Name("torch", STORAGES[obj.array.dtype.name])
        return ("storage", kind, obj.key, "cpu", obj.array.size, *((None,) if self.legacy else ()))

    def save(self, obj, *args, **more):
        if isinstance(obj, Module):
            self.write(b"c__torch__.torch.nn\nModule\n)\x81")
            super().save(obj.attributes)
            self.write(b"b")
            return None
        if not isinstance(obj, Call):
            return super().save(obj, *args, **more)
        self.write(f"c{obj.module}\n{obj.name}\n".encode())
        if not isinstance(obj, Name):
            super().save(obj.arguments)
            self.write(b"R")
        return None


def tensor(key, array, shape=None, strides=None):
    """An array, or numbers of its storage in another shape."""
    shape, strides = shape or array.shape, strides or tuple(step // array.itemsize for step in array.strides)
    return Call("torch._utils", "_rebuild_tensor_v2", Storage(key, array), 0, shape, strides, False, OrderedDict())


def content(arrays=ARRAYS, **more):
    return OrderedDict({name: tensor(str(i), array) for i, (name, array) in enumerate(arrays.items())} | more)


def pickled(obj, legacy=False):
    file = io.BytesIO()
    Pickler(file, legacy).dump(obj)
    return file.getvalue()


def in_a_row(state, arrays=ARRAYS):
    keys = [str(i) for i in range(len(arrays))]
    heads = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    parts = [pickled(each, legacy=True) for each in (*heads, state, keys)]
    for array in arrays.values():
        parts += [array.size.to_bytes(8, "little"), array.tobytes()]
    return b"".join(parts)


def zipped(state, arrays=ARRAYS, **members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickled(state))
        for i, array in enumerate(arrays.values()):
            archive.writestr(f"archive/data/{i}", array.tobytes())
        for name, data in members.items():
            archive.writestr(f"archive/{name}", data)
    return file.getvalue()


@pytest.fixture
def reading(tmp_path):
    def reading(data):
        (tmp_path / "w.pth").write_bytes(data)
        return read(tmp_path / "w.pth")

    return reading


@pytest.mark.parametrize("kind", [in_a_row, zipped])
def test_both_kinds_of_files(reading, kind):
    found = reading(kind(content()))
    assert set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].shape == array.shape
        assert found[name].dtype == (np.int64 if array.dtype == np.int64 else np.float32)


def test_the_arrays_of_a_program(reading):
    """As CLIP was published: modules within modules, and values that are no arrays."""
    inner = Module({"weight": tensor("0", ARRAYS["a.weight"]), "training": False})
    outer = Module({"a": inner, "scale": tensor("1", ARRAYS["b.bias"]), "name": "x", "sizes": [1, 2]})
    found = reading(zipped(outer))
    assert set(found) == {"a.weight", "scale"}
    np.testing.assert_array_equal(found["a.weight"], ARRAYS["a.weight"])


def test_views_of_one_storage(reading):
    stored = ARRAYS["a.weight"]
    state = {"turned": tensor("0", stored, (3, 2), (1, 3)), "row": tensor("0", stored, (3,), (1,))}
    found = reading(zipped(state))
    np.testing.assert_array_equal(found["turned"], ARRAYS["a.weight"].T)
    np.testing.assert_array_equal(found["row"], [0, 1, 2])
    with pytest.raises(ConfigError, match=r"\[2, 3\] reaches beyond the 6 numbers"):
        reading(zipped({"far": tensor("0", stored, (2, 3), (3, 2))}))


def test_a_truncated_file_is_told_from_others(reading):
    data = in_a_row(content())
    with pytest.raises(ConfigError, match=r"a damaged file \(it is cut off: 2 of 3 arrays are whole"):
        reading(data[:-3])
    for damaged in (data[: len(data) // 2], zipped(content())[:-9], zipped(content(), {"a": np.zeros(1)})):
        with pytest.raises(ConfigError, match=r"a damaged file \("):
            reading(damaged)
    for other in (pickle.dumps([1], 2), b"PK\x05\x06" + bytes(18), b"%PDF"):
        with pytest.raises(ConfigError, match="which only PyTorch reads, if anything"):
            reading(other)


def test_nothing_is_run_and_strangers_are_named(reading, monkeypatch):
    monkeypatch.setattr(builtins, "exec", lambda *_: pytest.fail("ran"))
    evil = Call("builtins", "exec", "raise SystemExit")
    for kind in (in_a_row, zipped):
        with pytest.raises(ConfigError, match="whose bad, step is no array; save the state dict itself"):
            reading(kind(content(bad=evil, step=3)))
        with pytest.raises(ConfigError, match="not a state dict"):
            reading(kind(evil, {}))
