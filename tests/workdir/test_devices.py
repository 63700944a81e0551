"""Checkpoints move between devices, and processes agree on them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp

from glowdiff.workdir.checkpoint import Checkpoints
from tests.workdir.states import (
    assert_same,
)

DEVICES = """
import json, sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from glowdiff.workdir.checkpoint import Checkpoints

def mesh_of(count):
    return jax.make_mesh((count // 2 or 1, min(count, 2)), ("data", "fsdp"), devices=jax.devices()[:count],
                         axis_types=(AxisType.Auto,) * 2)

def shardings(count):
    specs = {"w": P("fsdp", "data"), "b": P(), "keys": P("data"), "key": P(), "empty": P()}
    return {name: NamedSharding(mesh_of(count), spec) for name, spec in specs.items()}

def make():
    return {"w": jax.random.normal(jax.random.key(1), (16, 8)), "b": jnp.arange(3, dtype=jnp.bfloat16),
            "keys": jax.random.split(jax.random.key(2), 8), "key": jax.random.key(3), "empty": jnp.zeros((0, 2))}

def data(tree):
    return {name: np.asarray(jax.random.key_data(x) if "key" in name else x).tobytes() for name, x in tree.items()}

expected, like = data(make()), jax.eval_shape(make)
with Checkpoints(sys.argv[1]) as checkpoints:
    checkpoints.save(0, jax.device_put(make(), shardings(8)), {}, {})
    sums = []
    for step, count in enumerate((8, 4, 2, 1, 8)):
        wanted = shardings(count)
        target = {name: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=wanted[name]) for name, s in like.items()}
        restored = checkpoints.restore_latest(target)
        assert restored.step == step
        assert data(restored.state) == expected, count
        for name, array in restored.state.items():
            assert array.sharding.is_equivalent_to(wanted[name], array.ndim), (count, name, array.sharding)
        part = checkpoints.restore_part({"w": target["w"]}).state["w"]
        assert part.sharding.is_equivalent_to(wanted["w"], 2) and np.asarray(part).tobytes() == expected["w"]
        checkpoints.save(step + 1, restored.state, {}, {})
        checkpoints.wait()
        manifest = (checkpoints._root / str(step + 1) / "meta" / "metadata").read_text()
        sums.append(str(json.loads(manifest)["leaves"]))
    assert len(set(sums)) == 1
print("done")
"""


def test_a_state_moves_between_device_counts(tmp_path: Path):
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", DEVICES, str(tmp_path)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "done\n"), result.stderr


# Two processes of one device each. Only the second fails to read step 3, as it may with a damaged shard of its own.
PROCESSES = """
import os, signal, sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

process, address, workdir = int(sys.argv[1]), sys.argv[2], sys.argv[3]
jax.distributed.initialize(address, 2, process)
from glowdiff.workdir import checkpoint
from glowdiff.workdir.checkpoint import Checkpoints

mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
split, whole = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
make = jax.jit(lambda step: {"w": jnp.arange(8.0) + step, "key": jax.random.key(step)},
               out_shardings={"w": split, "key": whole})
like = {"w": jax.ShapeDtypeStruct((8,), jnp.float32, sharding=split),
        "key": jax.ShapeDtypeStruct((), jax.random.key(0).dtype, sharding=whole)}

read_arrays = checkpoint.read_arrays
def fail(folder, *rest):
    if process == 1 and folder.name == "3":
        raise ValueError("this shard is damaged")
    return read_arrays(folder, *rest)

with Checkpoints(workdir) as checkpoints:
    assert checkpoints.restore_latest(like) is None
    for step in (1, 2, 3):
        checkpoints.save(step, make(step), {"next_index": step}, {"test_bits_per_dim": float(step)})
    checkpoints.wait()
    checkpoint.read_arrays = fail
    restored = checkpoints.restore_latest(like)
    assert (restored.step, restored.data) == (2, {"next_index": 2})
    local = np.concatenate([shard.data for shard in restored.state["w"].addressable_shards])
    assert local.tolist() == [4 * process + 2.0 + i for i in range(4)]
    assert checkpoints.steps() == [1, 2]
    checkpoint.read_arrays = read_arrays
    checkpoints.save(3, make(3), {"next_index": 3}, {"test_bits_per_dim": 3.0})
    checkpoints.wait()
    assert checkpoints.steps() == [1, 2, 3]
    assert checkpoints.restore_part({"w": like["w"]}).step == 3
print("done")
"""


def test_processes_agree_on_the_step_to_use(tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    environment.pop("XLA_FLAGS", None)
    commands = [[sys.executable, "-c", PROCESSES, str(process), address, str(tmp_path)] for process in range(2)]
    pipe = subprocess.PIPE
    running = [subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True) for command in commands]
    try:
        outputs = [process.communicate(timeout=60) for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0, 0], outputs
    assert (tmp_path / "checkpoints" / "damaged-3").is_dir()
    # And one process alone reads what two wrote.
    with Checkpoints(tmp_path) as checkpoints:
        like = {"w": jax.ShapeDtypeStruct((8,), jnp.float32), "key": jax.eval_shape(lambda: jax.random.key(0))}
        restored = checkpoints.restore(3, like)
        assert_same(restored.state, {"w": jnp.arange(8.0) + 3, "key": jax.random.key(3)})
