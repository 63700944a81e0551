"""What every test shares: how XLA is set up (before JAX is imported), where data go, and one trained run."""

from __future__ import annotations

import atexit
import dataclasses
import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# One scratch folder for all processes of a run: pytest-xdist's workers inherit the variable, and the process that makes
# the folder removes it.
if "GLOWDIFF_TESTS" not in os.environ:
    os.environ["GLOWDIFF_TESTS"] = tempfile.mkdtemp(prefix="glowdiff-tests-")
    atexit.register(shutil.rmtree, os.environ["GLOWDIFF_TESTS"], ignore_errors=True)
# Tests compile many small programs and run each for a few steps, so compile time is what they cost. Without LLVM's
# optimisations it is a third, without the newer emitters of fusions again a third, and a cache, kept for the next run,
# compiles each program once, whichever process asks first (a program's key names jaxlib's version, so environments of
# several Pythons share the folder). None changes what a program computes beyond rounding, though the older emitters
# have another tanh. The subprocesses of tests inherit all of this.
_FLAGS = "--xla_backend_optimization_level=0"
if "GLOWDIFF_NEWER_EMITTERS" not in os.environ:
    _FLAGS += " --xla_backend_extra_options=xla_cpu_disable_new_fusion_emitters"
_PROGRAMS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "glowdiff" / "tests" / "xla"
_PROGRAMS_BYTES = 2 * 2**30
_MOST_RESIDENT = 2 * 2**30
os.environ["JAX_PLATFORMS"] = "cpu"
if _FLAGS not in os.environ.get("XLA_FLAGS", ""):  # else a worker's programs would have other keys
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FLAGS}".strip()
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(_PROGRAMS)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
# Shapes that meet by accident are mistakes.
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
os.environ["GLOWDIFF_DATA"] = str(Path(os.environ["GLOWDIFF_TESTS"]) / "data")

import jax  # noqa: E402
import pytest  # noqa: E402

from glowdiff.catalog import methods  # noqa: E402
from glowdiff.config.sections import Config  # noqa: E402
from tests import small, toys  # noqa: E402
from tests.pictures import kinds  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "newer_emitters: XLA emits its code as it does for users; in a process of its own"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if pyfuncitem.get_closest_marker("newer_emitters") is None or "GLOWDIFF_NEWER_EMITTERS" in os.environ:
        return None
    plain = {"XLA_FLAGS": "", "GLOWDIFF_NEWER_EMITTERS": "1"}
    result = small.command("-m", "pytest", "-p", "no:cacheprovider", pyfuncitem.nodeid, **plain)
    assert result.returncode == 0, result.stdout + result.stderr
    return True


def pytest_sessionstart(session: pytest.Session) -> None:
    """Forget the programs that were not asked for the longest, once all are too many.

    JAX could do it (`jax_compilation_cache_max_size`), but it then reads the whole folder for every program it adds.
    """
    if hasattr(session.config, "workerinput") or not _PROGRAMS.exists():
        return
    programs = sorted((entry.stat().st_atime, entry.stat().st_size, entry.path) for entry in os.scandir(_PROGRAMS))
    excess = sum(size for _, size, _ in programs) - _PROGRAMS_BYTES
    for _, size, path in programs:
        if excess <= 0:
            break
        Path(path).unlink(missing_ok=True)
        excess -= size


def pytest_collection_finish() -> None:
    """Tracing makes many objects that live: looking for dead ones among them took a fifth of the time."""
    gc.freeze()
    gc.set_threshold(50_000, 10, 100)


@pytest.fixture(autouse=True, scope="module")
def _memory() -> Iterator[None]:
    """Compiled programs are freed once a process holds many: not always, for the next module may ask for the same."""
    yield
    if _resident() > _MOST_RESIDENT:
        jax.clear_caches()
        gc.collect()


def _resident() -> int:
    """Bytes of memory that this process holds; 0 where the system does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> toys.ToyData:
    """The method "toy", which compiles in no time, and pictures for it."""
    monkeypatch.setitem(methods.METHODS, "toy", methods.Entry(toys.ToyConfig, toys.toy_method))
    return toys.ToyData(tmp_path / "toy.npz")


class Trained:
    """A run of `train.py` on `configs/glow/digits.py:smoke`, with what it printed."""

    def __init__(self) -> None:
        folder = small.once("digits", self._train)
        self.workdir, self.output = folder / "run", (folder / "output").read_text()

    def _train(self, folder: Path) -> None:
        result = small.command("train.py", "--config=configs/glow/digits.py:smoke", f"--workdir={folder / 'run'}")
        assert result.returncode == 0, result.stderr
        (folder / "output").write_text(result.stdout)

    @property
    def config(self) -> Config:
        from glowdiff.workdir import description as workdirs

        return workdirs.read(self.workdir).config


@pytest.fixture(scope="session")
def trained() -> Trained:
    """Tests only read it."""
    return Trained()


@pytest.fixture(scope="session")
def autoencoder_workdir() -> Path:
    """Of a run of four steps with a discriminator, on digits; tests only read it."""
    from glowdiff.training.loop import train

    return small.once("autoencoder", lambda folder: train(small.autoencoder_config(), folder / "run")) / "run"


class Cascaded(NamedTuple):
    """Workdirs of models whose parameters are noise; tests only read them."""

    base: Path  # reads captions, 8x8
    upsampler: Path  # reads them too, 8x8 -> 16x16
    clip: Path  # guides the base


@pytest.fixture(scope="session")
def cascaded() -> Cascaded:
    def make(folder: Path) -> None:
        larger = dataclasses.replace(small.COLOURS, shape=(16, 16, 3))
        upsampler = small.text_config(model__low_res=8, model__caption_dropout=0.0, sampling__guidance_scale=None)
        small.untrained_workdir(folder / "base", small.text_config(), small.COLOURS)
        small.untrained_workdir(folder / "upsampler", upsampler, larger)
        small.untrained_workdir(folder / "clip", small.clip_config(), small.COLOURS)

    folder = small.once("cascade", make)
    return Cascaded(*(folder / name for name in Cascaded._fields))


@pytest.fixture
def good_files(tmp_path: Path) -> Path:
    """A folder of every kind of image file."""
    return kinds.write_good(tmp_path / "good")


@pytest.fixture
def bad_files(tmp_path: Path) -> Path:
    """A folder with one unusable file of every kind."""
    return kinds.write_bad(tmp_path / "bad")
