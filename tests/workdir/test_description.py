"""What a workdir says of itself, and one that was written before."""

from __future__ import annotations

import json
import os

import pytest

import glowdiff
from glowdiff.errors import ConfigError
from glowdiff.training.loop import train
from glowdiff.workdir import description
from tests import toys


def test_a_workdir_of_an_earlier_version_says_so(toy, tmp_path):
    config = toys.toy_config(toy, train__steps=2)
    train(config, tmp_path)
    file = tmp_path / description.FILE
    content = json.loads(file.read_text())
    assert content["format"] == description.FORMAT
    del content["format"]
    content["config"]["sampling"]["every"] = content["config"].pop("pictures")["every"]  # as it was
    file.write_text(json.dumps(content))
    for read in (glowdiff.load, lambda workdir: train(config, workdir)):
        with pytest.raises(ConfigError, match=r"written by another version of glowdiff \(format 1, here 2\)"):
            read(tmp_path)


WHOLE = {"format": description.FORMAT, "config": {"method": "glow"}}


def dumped(**changes) -> bytes:
    return json.dumps(WHOLE | changes).encode()


SPEC = {"name": "x", "shape": [8, 8, 1], "levels": 17, "train_size": 1, "test_size": 1, "classes": []}


@pytest.mark.parametrize(
    "content",
    [
        b"\xff", b"", b"{", b"null", b"[]", b"7", b'"glow"', b"[" * 100_000, b'{"format": 2}', b"9" * 5000,
        dumped(config="abc", data={}), dumped(config=[], data={}), dumped(config={"method": ["glow"]}, data=SPEC),
        dumped(data={"shape": [8, 8]}), dumped(data=None), dumped(data=SPEC | {"levels": float("nan")}),
        dumped(data=SPEC | {"levels": float("inf")}), dumped(data=SPEC | {"levels": 10**30}),
        dumped(data=SPEC | {"shape": [8, 8, -1]}), dumped(data=SPEC | {"shape": "888"}),
        dumped(data=SPEC | {"classes": "abc"}), dumped(data=SPEC | {"classes": {"a": 1}}),
        dumped(config={"method": "glow", "train": 5}, data=SPEC),
        dumped(config={"method": "glow", "train": None}, data=SPEC),
        dumped(config={"method": "glow", "train": {"steps": "many"}}, data=SPEC),
        dumped(config={"method": "glow", "train": {"steps": 1e300}}, data=SPEC),
        dumped(config={"method": "glow", "modle": {}}, data=SPEC),
        dumped(config={"method": "gloe"}, data=SPEC),
        dumped(config={"method": "glow", "model": {"prior": {"name": []}}}, data=SPEC),
    ],
    ids=lambda content: repr(content)[-40:],
)  # fmt: skip
def test_a_damaged_description_is_named_in_a_line(content, tmp_path):
    file = tmp_path / description.FILE
    file.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        description.read(tmp_path)
    assert str(file) in str(error.value)
    assert len(str(error.value)) < 500


def test_what_is_no_file_is_not_waited_for(tmp_path):
    (tmp_path / description.FILE).mkdir()
    with pytest.raises(ConfigError, match="it is a folder, not a file"):
        description.read(tmp_path)
    (tmp_path / description.FILE).rmdir()
    os.mkfifo(tmp_path / description.FILE)
    with pytest.raises(ConfigError, match="it is a named pipe, not a file"):
        description.read(tmp_path)
