"""Imports point one way (docs/design.md), and nothing in the package can run what a file says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests import small

PACKAGE = small.ROOT / "glowdiff"
SOURCES = sorted(PACKAGE.rglob("*.py")) + [small.ROOT / name for name in ("train.py", "sample.py", "evaluate.py")]
# From the ground up: a room imports rooms of lower floors, and of its own floor those in front of it.
FLOORS = (
    ("errors", "spec", "files", "archives", "profiling"),
    ("config", "method", "sharding"),
    ("text", "pictures", "data", "samplers", "networks"),
    ("flows", "diffusion", "autoencoders"),
    ("catalog",),
    ("workdir", "trained"),
    ("inference", "metrics", "training"),
    ("importers", "editing"),
    ("cli",),
)
ROOMS = [room for floor in FLOORS for room in floor]
FLAX = ("flows", "networks")
ORBAX = ("workdir/checkpoint.py", "workdir/quiet.py", "workdir/step_files.py")


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE if path.is_relative_to(PACKAGE) else small.ROOT).as_posix()


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports hide what is imported"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(*modules: str) -> set[str]:
    """The files that import one of `modules`, or something in it."""
    return {
        relative(path)
        for path in SOURCES
        for name in imports(path)
        if any(name == module or name.startswith(f"{module}.") for module in modules)
    }


def room_of(module: str) -> str:
    """`workdir` of `glowdiff.workdir.checkpoint`; the package itself belongs to none."""
    return module.split(".")[1] if module.startswith("glowdiff.") else ""


def test_the_rules_see_the_imports():
    assert "flows/glow.py" in importers("flax")
    assert "workdir/checkpoint.py" in importers("orbax")


def test_every_module_is_in_a_room():
    """Nothing stays loose at the root but the ground floor and the interface."""
    loose = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert loose <= {"errors", "spec", "files", "archives", "method", "sharding", "trained"}
    assert {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()} | loose == set(ROOMS)


def test_imports_point_down():
    """Also those behind TYPE_CHECKING and within functions; so there is no circle either."""
    floor = {room: number for number, floor in enumerate(FLOORS) for room in floor}
    upward = []
    for path in SOURCES:
        own = relative(path).partition("/")[0].removesuffix(".py")
        if own not in floor:  # the mains and the package itself stand above all
            continue
        for name in imports(path):
            other = room_of(name)
            if other in floor and floor[other] > floor[own]:
                upward.append(f"{relative(path)} -> {name}")
            if name == "glowdiff":
                upward.append(f"{relative(path)} -> glowdiff")
    assert upward == []


def test_no_room_needs_one_that_needs_it():
    needs: dict[str, set[str]] = {room: set() for room in ROOMS}
    for path in SOURCES:
        own = relative(path).partition("/")[0].removesuffix(".py")
        if own in needs:
            needs[own] |= {room_of(name) for name in imports(path)} & set(ROOMS) - {own}
    circles = {(a, b) for a in ROOMS for b in needs[a] if a in reachable(b, needs)}
    assert circles == set()


def reachable(room: str, needs: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    ahead = [room]
    while ahead:
        for other in needs[ahead.pop()] - seen:
            seen.add(other)
            ahead.append(other)
    return seen


def test_flax_stays_in_the_networks():
    assert {name for name in importers("flax") if not name.startswith(FLAX)} == set()


def test_orbax_stays_behind_the_workdir():
    assert importers("orbax") == set(ORBAX)


def test_flows_and_diffusion_do_not_know_each_other():
    assert {name for name in importers("glowdiff.diffusion") if name.startswith("flows/")} == set()
    assert {name for name in importers("glowdiff.flows") if name.startswith("diffusion/")} == set()


def test_nothing_in_the_package_needs_the_repository():
    assert importers("tests", "benchmarks", "configs") == set()


def test_importing_is_free_of_other_frameworks():
    modules = "glowdiff, glowdiff.flows.glow, glowdiff.text.tokenizer, glowdiff.training.loop"
    code = f"import {modules}, sys; print(*sys.modules)"
    result = small.command("-c", code)
    assert result.returncode == 0, result.stderr
    loaded = {name.partition(".")[0] for name in result.stdout.split()}
    assert "glowdiff" in loaded
    assert not loaded & {"tensorflow", "torch", "keras", "matplotlib", "pandas", "tokenizers", "tiktoken"}


def test_no_file_is_run_or_unpickled():
    """Checkpoints, arrays and pictures come from strangers."""
    assert [offence for path in SOURCES for offence in offences(path)] == []


def offences(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "shell"):
            allowed = isinstance(node.value, ast.Constant) and node.value.value is False
        else:
            called = node.func if isinstance(node, ast.Call) else None
            allowed = not (isinstance(called, ast.Name) and called.id in ("eval", "exec", "__import__"))
        if not allowed:
            yield f"{relative(path)}:{node.lineno}"
    for name in imports(path):
        if name.partition(".")[0] in ("pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"):
            yield f"{relative(path)} imports {name}"


def test_offences_are_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(small, "ROOT", tmp_path)
    file = tmp_path / "bad.py"
    file.write_text("import pickle\neval('1')\nrun(shell=True)\nload(allow_pickle=sure)\nload(allow_pickle=False)\n")
    assert len(list(offences(file))) == 4
