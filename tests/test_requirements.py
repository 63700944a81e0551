"""`requirements.lock`: one file for every Python that pyproject.toml names, and no address in it."""

import re
import tomllib

import pytest
from packaging.markers import Marker

from tests import small

LOCK = (small.ROOT / "requirements.lock").read_text()
PINS = re.findall(r"^([\w.-]+)==([\w.]+)(?: ; (.*?))? \\$", LOCK, re.MULTILINE)
PROJECT = tomllib.loads((small.ROOT / "pyproject.toml").read_text())["project"]
PYTHONS = [each.rpartition(" ")[2] for each in PROJECT["classifiers"] if each.startswith("Programming Language")]


@pytest.mark.parametrize("python", PYTHONS)
def test_every_python_has_one_version_of_everything(python):
    environment = {"python_version": python, "python_full_version": f"{python}.1", "sys_platform": "linux"}
    found = [(name, version) for name, version, marker in PINS if not marker or Marker(marker).evaluate(environment)]
    versions = dict(found)
    assert len(versions) == len(found)
    wanted = {re.match(r"[\w-]+", each)[0].lower().replace("_", "-") for each in PROJECT["dependencies"]}
    assert wanted <= set(versions)
    assert versions["jax"].startswith("0.10." if python == "3.11" else "0.12.")


def test_the_lock_says_nothing_of_where_packages_come_from():
    assert not re.search(r"://|^-", LOCK, re.MULTILINE)
