"""What a workdir says of itself, and one that was written before."""

from __future__ import annotations

import json

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
