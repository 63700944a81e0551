"""Arrays stay in their files until they are asked for, and what is no such file is named."""

from __future__ import annotations

import json
from collections import OrderedDict

import numpy as np
import pytest
from safetensors.numpy import save_file

from glowdiff.errors import ConfigError
from glowdiff.importers.stored import opened
from tests.importers.test_torch_files import ARRAYS, content, in_a_row, zipped


@pytest.fixture
def file(tmp_path):
    save_file(ARRAYS, tmp_path / "w.safetensors", {"format": "pt"})
    return tmp_path / "w.safetensors"


def check(found, prefix=""):
    assert {name.removeprefix(prefix): shape for name, shape in found.shapes.items()} == {
        name: array.shape for name, array in ARRAYS.items()
    }
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[prefix + name], array)
        assert found[prefix + name].dtype == (np.int64 if array.dtype == np.int64 else np.float32)


def test_safetensors_whole_and_in_shards(file, tmp_path):
    check(opened(file))
    save_file({name: array for name, array in ARRAYS.items() if name.startswith("b")}, tmp_path / "2.safetensors")
    index = {name: "2.safetensors" if name.startswith("b") else file.name for name in ARRAYS}
    (tmp_path / "w.index.json").write_text(json.dumps({"weight_map": index}))
    check(opened(tmp_path / "w.index.json"))


def test_some_of_them_by_what_they_begin_with(file):
    found = opened(file)
    assert set(found.under("b.")) == {"bias", "num_batches_tracked"}
    assert set(found.under("a.").joined(found.under("b."))) == {"weight", "bias", "num_batches_tracked"}


@pytest.mark.parametrize("kind", [in_a_row, zipped])
def test_checkpoints_of_lightning(kind, tmp_path):
    """Whatever else they hold, it is not looked at."""
    path = tmp_path / "w.ckpt"
    path.write_bytes(kind(OrderedDict(state_dict=content(), global_step=3, callbacks=OrderedDict(best="x"))))
    check(opened(path))


def test_nothing_is_read_before_it_is_asked_for(file):
    found = opened(file)
    file.write_bytes(b"")
    assert "a.weight" in found
    with pytest.raises(ValueError, match="cannot reshape"):
        found["a.weight"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-1], r"is cut off: it has [\d,]+ of [\d,]+ bytes"),
        (lambda data: data[:20], "is cut off: not even its header is whole"),
        (lambda data: b"<html>404</html>", "is no safetensors file"),
        (lambda data: b"", "is no safetensors file"),
        (lambda data: data.replace(b"F32", b"F99"), "whose header is damaged"),
        (lambda data: data[:8] + data[8:].replace(b"[2,3]", b"[2,9]"), "whose header is damaged"),
    ],
)
def test_what_is_no_such_file(file, damage, message):
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ConfigError, match=message):
        opened(file)


def test_numbers_are_finite(tmp_path):
    save_file({"a": np.array([1, np.inf], np.float32)}, tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match="whose a holds values that are not finite"):
        opened(tmp_path / "w.safetensors")["a"]


def test_other_kinds_and_missing_files(tmp_path):
    with pytest.raises(ConfigError, match="must be a file that ends in"):
        opened(tmp_path / "w.gguf")
    with pytest.raises(ConfigError, match="where there is no file"):
        opened(tmp_path / "w.safetensors")
    (tmp_path / "w.index.json").write_text("[]")
    with pytest.raises(ConfigError, match="no index of safetensors"):
        opened(tmp_path / "w.index.json")
    (tmp_path / "w.index.json").write_text(json.dumps({"weight_map": {"a": "gone.safetensors"}}))
    with pytest.raises(ConfigError, match=r"names gone\.safetensors, a file that is not beside it"):
        opened(tmp_path / "w.index.json")
    (tmp_path / "w.ckpt").write_bytes(zipped(content())[:-30])
    with pytest.raises(ConfigError, match="a damaged file"):
        opened(tmp_path / "w.ckpt")
