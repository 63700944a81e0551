"""Imports point one way (docs/design.md), and nothing in the package can run what a file says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import small

PACKAGE = small.ROOT / "glowdiff"
SOURCES = sorted(PACKAGE.rglob("*.py")) + [small.ROOT / name for name in ("train.py", "sample.py", "evaluate.py")]
FLAX = ("flows", "denoisers", "guides")
ORBAX = ("training/checkpoint.py",)


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


def test_the_rules_see_the_imports():
    assert "flows/glow.py" in importers("flax")
    assert "training/checkpoint.py" in importers("orbax")
    assert "train.py" in importers("glowdiff.training")


def test_flax_stays_in_the_networks():
    assert {name for name in importers("flax") if not name.startswith(FLAX)} == set()


def test_orbax_stays_behind_one_module():
    assert importers("orbax") == set(ORBAX)


def test_flows_and_diffusion_do_not_know_each_other():
    assert {name for name in importers("glowdiff.diffusion") if name.startswith("flows/")} == set()
    assert {name for name in importers("glowdiff.flows") if name.startswith(("diffusion/", "denoisers/"))} == set()


@pytest.mark.parametrize("lower", ["flows", "diffusion", "samplers", "denoisers", "guides", "data", "text", "config"])
def test_what_is_below_does_not_import_what_is_above(lower):
    above = (
        "glowdiff.training", "glowdiff.editing", "glowdiff.metrics", "glowdiff.model", "glowdiff.cascade",
        "glowdiff.main",
    )  # fmt: skip
    assert {name for name in importers(*above) if name.startswith(f"{lower}/")} == set()


def test_networks_know_nothing_of_the_process_around_them():
    above = ("glowdiff.flows", "glowdiff.diffusion", "glowdiff.samplers", "glowdiff.data")
    assert {name for name in importers(*above) if name.startswith(("denoisers/", "guides/"))} == set()


def test_captions_are_read_without_the_rest():
    used = {name for path in SOURCES if relative(path).startswith("text/") for name in imports(path)}
    ours = {name for name in used if name.startswith("glowdiff.")}
    assert ours
    assert {name for name in ours if not name.startswith(("glowdiff.config.schema", "glowdiff.text"))} == set()


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


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_no_file_is_run_or_unpickled(path):
    """Checkpoints, arrays and pictures come from strangers."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "shell"):
            assert isinstance(node.value, ast.Constant), f"line {node.value.lineno}"
            assert node.value.value is False, f"line {node.value.lineno}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec", "__import__"), f"line {node.lineno}"
    for name in imports(path):
        assert name.partition(".")[0] not in ("pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"), name
