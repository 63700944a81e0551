"""The sdist and the wheel: `python -m tests.distributions dist` builds them, the wheel from the sdist as pip does."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from packaging.metadata import Metadata

ROOT = Path(__file__).parents[1]
_LEFT_OUT = (".*", "runs", "dist", "build", "*.egg-info", "__pycache__", "tests", "docs", "benchmarks")
_BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"


def build(folder: Path) -> tuple[Path, Path]:
    """Build both into `folder`; nothing is fetched, and nothing is left in the checkout."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "checkout"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        sdist = folder / _build("build_sdist", copy, folder)
        with tarfile.open(sdist) as archive:
            archive.extractall(scratch, filter="data")
        wheel = folder / _build("build_wheel", Path(scratch) / sdist.name.removesuffix(".tar.gz"), folder)
    return sdist, wheel


def metadata(text: bytes) -> Metadata:
    """What a distribution says of itself, checked against the standards."""
    return Metadata.from_email(text, validate=True)


def _build(what: str, source: Path, folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", _BUILD, what, str(folder)], cwd=source, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return done.stdout.splitlines()[-1]


if __name__ == "__main__":
    for path in build(Path(sys.argv[1])):
        print(path)
