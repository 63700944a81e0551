"""Files are written whole, or not at all; and what is read is a file, and has an end."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from etils import epath
from etils.epath.testing import mock_epath

from glowdiff.files import read_text, write_whole


@pytest.mark.parametrize("content", ["größer\n", b"\x00\xff"])
def test_a_file_holds_what_was_written_last_and_nothing_else_is_left(tmp_path, content):
    path = tmp_path / "new" / "folders" / "file"
    write_whole(path, "before")
    write_whole(str(path), content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(path.parent.iterdir()) == [path]


def test_a_writer_that_is_stopped_leaves_the_old_file_and_the_next_one_no_rest(tmp_path):
    path = tmp_path / "file"
    write_whole(path, "old")

    def stop(original, path, target):
        raise KeyboardInterrupt

    with mock_epath(replace=stop), pytest.raises(KeyboardInterrupt):
        write_whole(path, "new")
    assert path.read_text() == "old"
    write_whole(path, "newer")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "newer"


def test_an_object_store_gets_the_file_at_its_own_name(tmp_path):
    local = tmp_path / "object"

    def opened(original, path, mode):
        assert path == "gs://bucket/run/config.json"
        return local.open(mode)

    with mock_epath(open=opened, mkdir=lambda *_, **__: None, makedirs=lambda *_, **__: None):
        write_whole(epath.Path("gs://bucket/run/config.json"), "whole")
    assert local.read_text() == "whole"


def test_a_text_is_read_with_or_without_a_mark_also_through_a_link(tmp_path):
    for content in ("é\n", "\ufeffé\n"):
        (tmp_path / "file").write_text(content, encoding="utf-8")
        assert read_text(tmp_path / "file") == "é\n"
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_text(tmp_path / "link") == "é\n"


def test_what_is_no_file_or_a_very_large_one_is_refused_unread(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "large").write_bytes(b"12345")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        for path, message in [
            ("pipe", "it is a named pipe, not a file"),
            ("link", "it is a device, not a file"),
            ("/dev/zero", "it is a device, not a file"),
            ("socket", "it is a socket, not a file"),
            (".", "it is a folder, not a file"),
            ("large", "it has 5 bytes, more than the 4 that are read"),
        ]:
            with pytest.raises(OSError, match=message):
                read_text(Path(path), most=4)
