"""When a process joins others: named by hand, started by Slurm or Open MPI, on a TPU host."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path

import jax
import pytest

from glowdiff.cli import peers
from glowdiff.cli.main import command, initialize
from glowdiff.workdir.faults import CheckpointError
from tests.cli.typed import typed

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


def test_compiled_programs_are_kept_in_the_home_folder_and_of_a_pod_in_the_workdir(monkeypatch, tmp_path):
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
    initialize("gs://bucket/run")
    assert updates == {}
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    initialize("gs://bucket/run")
    assert updates == {"jax_compilation_cache_dir": "gs://bucket/run/xla"}
    assert jax.config.jax_compilation_cache_dir == before


@pytest.mark.parametrize(
    ("names", "lost"),
    [
        (["here 1", "elsewhere 7"], "process 1 (on elsewhere, pid 7) is lost"),
        (["here 1", "elsewhere 7", "far 8"], "process 1 (on elsewhere, pid 7) or process 2 (on far, pid 8) is lost"),
        (["here 1", f"{socket.gethostname()} {2**22 + 1}", "far 8"], f"process 1 (on {socket.gethostname()}, pid"),
    ],
)
def test_a_process_that_is_lost_is_named(names, lost, monkeypatch):
    monkeypatch.setattr(peers, "_names", names)

    @command
    def main(arguments):
        try:
            raise jax.errors.JaxRuntimeError("UNKNOWN: Gloo all-reduce failed: Connection closed by peer [10.0.0.1]:1")
        except jax.errors.JaxRuntimeError as error:
            raise CheckpointError("Step 3 could not be saved (is the disk full?)") from error

    result = typed(main)
    assert result.code == 1
    assert result.err.startswith(f"error: {lost}")
    assert "Gloo all-reduce failed" in result.err
    assert result.err.endswith("The same command, on every host, goes on from the last checkpoint.\n")


def test_other_errors_of_several_processes_are_what_they_are(monkeypatch):
    monkeypatch.setattr(peers, "_names", ["a 1", "b 2"])
    assert peers.lost(CheckpointError("Step 3 could not be saved (is the disk full?)")) == ""
    monkeypatch.setattr(peers, "_names", [])
    assert peers.lost(RuntimeError("UNAVAILABLE: Socket closed")) == ""
