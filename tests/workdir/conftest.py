"""A workdir with two intact steps."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.workdir.states import save

# When one read fails, Orbax closes its event loop under the others.
WARNINGS = (
    "ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning",
    "ignore:coroutine .* was never awaited:RuntimeWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            for warning in WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("pristine")
    save(workdir, 1, 2)
    return workdir


@pytest.fixture
def workdir(pristine: Path, tmp_path: Path) -> Path:
    """A workdir with the intact steps 1 and 2."""
    return Path(shutil.copytree(pristine, tmp_path / "run"))
