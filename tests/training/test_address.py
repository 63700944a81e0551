"""A workdir in an object store: what is written, and that the next run goes on from it."""

from __future__ import annotations

from pathlib import Path

import fsspec
import jax
import numpy as np
import pytest
from etils import epath
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from orbax.checkpoint._src.path import gcs_utils

import glowdiff
from glowdiff.training.loop import train
from tests import small, toys


@pytest.fixture
def store(tmp_path, monkeypatch) -> Path:
    """A folder that holds what `gs://bucket` does, for paths and for TensorStore: no network is asked."""
    folder = tmp_path / "store"

    class Store(DirFileSystem):
        def __init__(self) -> None:
            super().__init__(str(folder), LocalFileSystem(auto_mkdir=True))

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return str(path).removeprefix("gs://").rstrip("/")

    def kvstore(path: str) -> dict[str, str]:
        return {"driver": "file", "path": str(folder / path.removeprefix("gs://"))}

    usual = fsspec.filesystem
    monkeypatch.setattr(
        fsspec, "filesystem", lambda name, **options: Store() if name == "gcs" else usual(name, **options)
    )
    monkeypatch.setattr(gcs_utils, "get_kvstore_for_gcs", kvstore)
    monkeypatch.setattr(gcs_utils, "is_hierarchical_namespace_enabled", lambda path: False)
    return folder / "bucket"


def test_a_run_in_a_bucket_is_a_run_on_disk(toy, store, tmp_path):
    address = "gs://bucket/run"
    config = toys.toy_config(toy)
    train(toys.toy_config(toy, train__steps=2), address)
    assert small.steps(address) == [2]
    train(config, address)  # goes on
    train(config, tmp_path / "local")
    assert small.steps(address) == small.steps(tmp_path / "local")
    assert small.state_of(config, address) == small.state_of(config, tmp_path / "local")
    names = {"config.json", "metrics.jsonl", "samples/4.png"}
    assert {path.relative_to(store / "run").as_posix() for path in store.rglob("*")} >= names
    assert small.log(store / "run") == small.log(tmp_path / "local")
    key = jax.random.key(0)
    drawn = [glowdiff.load(path).sample(key, 2) for path in (address, tmp_path / "local")]
    np.testing.assert_array_equal(*drawn)
    assert not epath.Path("gs://bucket/other").exists()
