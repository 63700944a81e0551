"""Prompts on the command line."""

from __future__ import annotations

import os

import pytest

from glowdiff.cli.prompts import in_turns, read_prompts
from glowdiff.errors import ConfigError


def test_a_file_has_a_prompt_on_each_line_that_is_not_blank(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("\ufeffa red heart\n\n  flag of São Tomé \r\n \t\n", encoding="utf-8")
    assert read_prompts(None, str(path)) == ["a red heart", "flag of São Tomé"]
    assert read_prompts(["one", "two"], None) == ["one", "two"]
    assert read_prompts(None, None) == []
    assert in_turns(["a", "b"], 3) == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "which is no file; it must be a text file with one prompt per line"),
        (b"\n \n", "which holds no prompt; it must hold one per line"),
        (b"\xff\xfe\x00", r"which cannot be read as text \(UTF-8\)"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path, content, message):
    path = tmp_path / "prompts.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_prompts(None, str(path))


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "pipe", "folder"])
def test_only_files_are_read(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match=rf"--prompts is {path}, which cannot be read \(it is a \w+"):
        read_prompts(None, path)


def test_prompts_come_from_one_place_and_are_not_empty():
    with pytest.raises(ConfigError, match="--prompt and --prompts are both given"):
        read_prompts(["a"], "b.txt")
    with pytest.raises(ConfigError, match="--prompt is empty; to draw without a caption, leave it out"):
        read_prompts([" "], None)
