"""Files are written whole, or not at all."""

from __future__ import annotations

import pytest
from etils import epath
from etils.epath.testing import mock_epath

from glowdiff.files import write_whole


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
