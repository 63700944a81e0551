"""When a process joins others: named by hand, started by Slurm or Open MPI, on a TPU host."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import jax
import pytest

from glowdiff.cli.main import initialize

NAMES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE")
BY_HAND = {"JAX_COORDINATOR_ADDRESS": "host:1234", "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "2"}


@pytest.mark.parametrize(
    ("environment", "devices", "libtpu", "joined"),
    [
        ({}, [], False, None),
        (BY_HAND, [], False, {"num_processes": 4, "process_id": 2}),
        ({"JAX_COORDINATOR_ADDRESS": "host:1234"}, [], False, {"num_processes": None, "process_id": None}),
        ({"SLURM_NTASKS": "8"}, [], False, {"num_processes": None, "process_id": None}),
        ({"SLURM_NTASKS": "1"}, [], False, None),
        ({"SLURM_NTASKS": "many"}, [], False, None),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, [], False, {"num_processes": None, "process_id": None}),
        ({"OMPI_COMM_WORLD_SIZE": "1"}, [], False, None),
        ({}, ["/dev/accel0"], True, {"num_processes": None, "process_id": None}),
        ({}, ["/dev/vfio/0"], True, {"num_processes": None, "process_id": None}),
        ({}, ["/dev/vfio/0"], False, None),  # some other device, passed through
        ({}, [], True, None),  # only installed
    ],
)
def test_peers_are_joined_where_there_are_any(environment, devices, libtpu, joined, monkeypatch):
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda **arguments: calls.append(arguments))
    monkeypatch.setattr(Path, "exists", lambda path: str(path) in devices)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if libtpu else None)
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    initialize()
    assert calls == ([] if joined is None else [joined])


def test_compiled_programs_are_kept_in_the_home_folder(monkeypatch, tmp_path):
    before = jax.config.jax_compilation_cache_dir
    updates = {}
    monkeypatch.setattr(jax.config, "update", updates.__setitem__)
    monkeypatch.setenv("HOME", str(tmp_path))
    initialize()
    assert updates == {}, "the environment names a folder already"
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    initialize()
    assert updates == {"jax_compilation_cache_dir": f"{tmp_path}/.cache/glowdiff/xla"}
    updates.clear()
    monkeypatch.setenv("HOME", "")
    initialize()
    assert updates == {}
    assert jax.config.jax_compilation_cache_dir == before
