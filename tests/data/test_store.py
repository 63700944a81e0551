"""What preparations leave behind when they are killed."""

from __future__ import annotations

import os
import time

from glowdiff.data.store import prepare_once


def test_what_a_killed_preparation_has_left_is_removed_by_the_next_one(tmp_path):
    ours, others, old = (tmp_path / f".preparing-{name}" for name in ("set-abc", "another-abc", "third-abc"))
    for folder in (ours, others, old):
        folder.mkdir()
        (folder / "part").write_text("half")
    os.utime(old, (time.time() - 10**6,) * 2)

    def write(scratch):
        (scratch / "whole").write_text("all of it")
        return scratch

    assert [path.name for path in prepare_once(tmp_path / "set", write).iterdir()] == ["whole"]
    assert sorted(path.name for path in tmp_path.glob(".preparing-*")) == [others.name], "it may be at work"
