"""Folders of every kind of image file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pictures import kinds


@pytest.fixture
def good_files(tmp_path) -> Path:
    return kinds.write_good(tmp_path / "good")


@pytest.fixture
def bad_files(tmp_path) -> Path:
    return kinds.write_bad(tmp_path / "bad")
