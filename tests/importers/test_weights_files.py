"""Files of PyTorch weights: what is read, and what is refused unread."""

import builtins
import json
import os
import pickle
import sys
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from glowdiff.errors import ConfigError
from glowdiff.importers.weights_files import read

ARRAYS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b.bias": np.ones(2, np.float16)}


class Tensor:
    """Of a PyTorch that is not there."""

    def __init__(self, array, dtype="float32"):
        self.array, self.dtype = array, dtype

    def float(self):
        return Tensor(self.array.astype(np.float32))

    def numpy(self):
        assert self.dtype != "bfloat16", "NumPy has none"
        return self.array


@pytest.fixture
def torch(monkeypatch):
    """A stand-in that returns `state` of any file, if it is asked safely."""
    fake = SimpleNamespace(Tensor=Tensor, bfloat16="bfloat16", state={})

    def load(path, *, weights_only, map_location):
        assert (weights_only, map_location) == (True, "cpu")
        return fake.state

    fake.load = load
    monkeypatch.setitem(sys.modules, "torch", fake)
    return fake


def check(found):
    assert set(found) == set(ARRAYS)
    for name, array in found.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, ARRAYS[name])


def test_npz(tmp_path):
    np.savez(tmp_path / "w.npz", **ARRAYS)
    check(read(tmp_path / "w.npz"))


def test_safetensors(tmp_path):
    half = ARRAYS["b.bias"].astype(ml_dtypes.bfloat16)
    save_file(ARRAYS | {"b.bias": half}, tmp_path / "w.safetensors")
    check(read(tmp_path / "w.safetensors"))


def test_shards(tmp_path):
    index = {"metadata": {}, "weight_map": {name: f"{name}.safetensors" for name in ARRAYS}}
    (tmp_path / "w.json").write_text(json.dumps(index))
    for name, array in sorted(ARRAYS.items()):
        with pytest.raises(ConfigError, match=rf"names {name}\.safetensors, a file that is not beside it"):
            read(tmp_path / "w.json")
        save_file({name: array}, tmp_path / f"{name}.safetensors")
    check(read(tmp_path / "w.json"))
    (tmp_path / "w.json").write_text("[]")
    with pytest.raises(ConfigError, match="no index of safetensors"):
        read(tmp_path / "w.json")


def test_torch(tmp_path, torch):
    (tmp_path / "w.pt").touch()
    torch.state = {name: Tensor(array) for name, array in ARRAYS.items()}
    torch.state["b.bias"].dtype = "bfloat16"
    check(read(tmp_path / "w.pt"))
    torch.state = {"step": 3, "state_dict": torch.state}
    with pytest.raises(ConfigError, match="whose step, state_dict is no array; save the state dict itself"):
        read(tmp_path / "w.pt")
    torch.state = [1]
    with pytest.raises(ConfigError, match="holds a list, not a state dict"):
        read(tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["w.npz", "w.safetensors", "w.pt", "w.json"])
def test_only_files_are_read(tmp_path, torch, name):
    (tmp_path / "device").mkdir()
    (tmp_path / "device" / name).symlink_to("/dev/zero")
    os.mkfifo(tmp_path / name)
    for path, what in ((tmp_path / name, "a named pipe"), (tmp_path / "device" / name, "a device")):
        with pytest.raises(
            ConfigError, match=rf"--weights is .*{name}, which cannot be read \(it is {what}, not a file"
        ):
            read(path)


def test_of_an_npz_only_what_is_needed_is_read(tmp_path):
    np.savez(tmp_path / "w.npz", **ARRAYS, step=np.array([{}], object))
    check(read(tmp_path / "w.npz", unread="step"))
    with pytest.raises(ConfigError, match="pickled Python objects"):
        read(tmp_path / "w.npz")


def test_indices_that_are_bombs_are_refused(tmp_path):
    (tmp_path / "w.json").write_text("[" * 100_000)
    with pytest.raises(ConfigError, match="no index of safetensors"):
        read(tmp_path / "w.json")


def test_packages_that_are_not_there(tmp_path, monkeypatch):
    for name, package in (("w.pt", "torch"), ("w.safetensors", "safetensors.numpy")):
        (tmp_path / name).touch()
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(ConfigError, match=r"install it \(pip install \w+\).*np\.savez"):
            read(tmp_path / name)


class Evil:
    def __reduce__(self):
        return builtins.exec, ("raise SystemExit('ran')",)


def test_what_is_refused(tmp_path):
    def refused(name, content, message):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match=message):
            read(tmp_path / name)

    refused("w.npz", pickle.dumps(Evil()), "not an .npz file")
    refused("w.safetensors", pickle.dumps(Evil()), "a damaged file")
    refused("w.bin", b"", "must be an .npz, .safetensors or .pt file")
    np.savez(tmp_path / "nan.npz", a=np.array([1.0, np.nan]))
    with pytest.raises(ConfigError, match="whose a holds values that are not finite"):
        read(tmp_path / "nan.npz")
    np.savez(tmp_path / "text.npz", a=np.array(["x"]))
    with pytest.raises(ConfigError, match="whose a is <U1; weights must be numbers"):
        read(tmp_path / "text.npz")
    with pytest.raises(ConfigError, match="where there is no file"):
        read(tmp_path / "gone.npz")
