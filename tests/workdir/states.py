"""Small states, saved and broken: what the tests of checkpoints share."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from glowdiff.workdir.checkpoint import Checkpoints
from glowdiff.workdir.checksum import key_data, leaves_by_path


class Moments(NamedTuple):
    taken: jax.Array
    mu: dict[str, Any]
    nothing: None = None


def make_state(step: int) -> dict[str, Any]:
    key = jax.random.key(step)
    params = {"conv": {"kernel": jax.random.normal(key, (4, 6)), "bias": jnp.full(3, step, jnp.bfloat16)}}
    return {
        "step": jnp.int32(step),
        "key": key,
        "keys": jax.random.split(jax.random.key(step, impl="rbg"), 3),
        "variables": {"params": params, "buffers": {"mask": jnp.arange(5) % 2 == 0, "none": jnp.zeros((0, 3))}},
        "ema": params,
        "optimizer": (Moments(jnp.uint8(step), params), ()),
    }


def assert_same(actual: Any, expected: Any) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    wanted = leaves_by_path(expected)
    for path, leaf in leaves_by_path(actual).items():
        assert leaf.dtype == wanted[path].dtype, path
        np.testing.assert_array_equal(key_data(leaf), key_data(wanted[path]), err_msg=path)


def save(workdir: Path, *steps: int) -> None:
    with Checkpoints(workdir) as checkpoints:
        for step in steps:
            checkpoints.save(step, make_state(step), {"next_index": 7 * step}, {"test_bits_per_dim": 1 / step})


def folder(workdir: Path, step: int | str) -> Path:
    return workdir / "checkpoints" / str(step)


def names(workdir: Path) -> list[str]:
    return sorted(path.name for path in (workdir / "checkpoints").iterdir())


def contents(workdir: Path) -> dict[str, Any]:
    """Every file's bytes and every folder's time of change."""
    return {str(p): p.read_bytes() if p.is_file() else p.stat().st_mtime_ns for p in [workdir, *workdir.rglob("*")]}


LIKE = jax.eval_shape(lambda: make_state(0))


def largest(step: Path) -> Path:
    return max((p for p in (step / "state").glob("d/*") if p.is_file()), key=lambda p: p.stat().st_size)


def flip(path: Path, byte: int) -> None:
    data = bytearray(path.read_bytes())
    data[byte] ^= 4
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def flip_a_value(step: Path) -> None:
    """Change one bit of an array as Orbax stores it, in a valid file, so that it loads without complaint."""
    import tensorstore

    store = {"driver": "ocdbt", "base": f"file://{step / 'state'}/"}
    array = tensorstore.open({"driver": "zarr", "kvstore": {**store, "path": "ema.conv.kernel/"}}).result()
    value = array.read().result()
    value.view(np.uint32)[2, 3] ^= 1
    array.write(value).result()
