import json
import logging as python_logging
import os
import pickletools
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import logging

from glowdiff.training.checkpoint import CheckpointError, Checkpoints
from glowdiff.training.checksum import key_data, leaves_by_path

# When one read fails, Orbax closes its event loop under the others.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
]


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


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("pristine")
    save(workdir, 1, 2)
    return workdir


@pytest.fixture
def workdir(pristine: Path, tmp_path: Path) -> Path:
    """A workdir with the intact steps 1 and 2."""
    return Path(shutil.copytree(pristine, tmp_path / "run"))


# ---- Saving and restoring.


def test_a_state_comes_back_as_it_was(workdir: Path):
    with Checkpoints(workdir) as checkpoints:
        for restored in (checkpoints.restore_latest(LIKE), checkpoints.restore(2, make_state(0))):
            assert restored is not None
            assert (restored.step, restored.data, restored.metrics) == (
                2,
                {"next_index": 14},
                {"test_bits_per_dim": 0.5},
            )
            assert_same(restored.state, make_state(2))
            # The same stream of random numbers, not only the same integers.
            np.testing.assert_array_equal(
                jax.random.bits(restored.state["keys"][1]), jax.random.bits(make_state(2)["keys"][1])
            )
        assert_same(checkpoints.restore(1, LIKE).state, make_state(1))


def test_sixty_four_bits(tmp_path: Path):
    with jax.enable_x64(True), Checkpoints(tmp_path) as checkpoints:
        state = {"f": jnp.array([1e-300, np.nan]), "i": np.array([2**40, -1]), "c": jnp.array(1 + 2j), "z": -0.0}
        checkpoints.save(1, state, {}, {})
        checkpoints.wait()
        restored = checkpoints.restore(1, jax.eval_shape(lambda: jax.tree.map(jnp.asarray, state)))
        assert_same(restored.state, jax.tree.map(jnp.asarray, state))
        assert np.signbit(restored.state["z"])


def test_nothing_was_saved(tmp_path: Path):
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == []
        assert checkpoints.best_step() is None
        assert list(tmp_path.iterdir()) == []
        assert checkpoints.restore_latest(LIKE) is None
        with pytest.raises(CheckpointError, match="There is no checkpoint in"):
            checkpoints.restore_part({"ema": LIKE["ema"]})
        with pytest.raises(CheckpointError, match=r"There is no step 3 in .*; it holds none"):
            checkpoints.restore(3, LIKE)


def test_a_saved_step_is_not_saved_again(workdir: Path):
    with Checkpoints(workdir) as checkpoints:
        checkpoints.save(2, make_state(5), {}, {})
        checkpoints.save(3, make_state(3), {}, {})
        checkpoints.save(3, make_state(6), {}, {})
        checkpoints.wait()
        assert_same(checkpoints.restore(2, LIKE).state, make_state(2))
        assert_same(checkpoints.restore(3, LIKE).state, make_state(3))


def test_an_earlier_step_is_not_dropped_in_silence(workdir: Path):
    with Checkpoints(workdir) as checkpoints, pytest.raises(CheckpointError, match="holds the later step 2"):
        checkpoints.save(0, make_state(0), {}, {})


def test_what_cannot_be_saved_is_refused(tmp_path: Path):
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(TypeError, match="a/name is a str"):
            checkpoints.save(1, {"a": {"name": "text"}}, {}, {})
        with pytest.raises(TypeError, match="not JSON serializable"):
            checkpoints.save(1, {"a": jnp.ones(2)}, {"object": object()}, {})
        assert checkpoints.steps() == []


def test_donated_arrays_are_saved_as_they_were(tmp_path: Path):
    advance = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
    state = {"a": jnp.zeros((300, 1000)), "b": jnp.zeros(3)}
    like = jax.eval_shape(lambda: state)
    with Checkpoints(tmp_path) as checkpoints:
        for step in range(3):
            checkpoints.save(step, state, {}, {})
            state = advance(state)
        checkpoints.wait()
        for step in (1, 2):
            assert set(np.unique(checkpoints.restore(step, like).state["a"])) == {step}


def test_the_newest_two_and_the_best_are_kept(tmp_path: Path):
    values = [5.0, 2.0, 4.0, np.nan, None, 3.0]
    kept = [[0], [0, 1], [1, 2], [1, 2, 3], [1, 3, 4], [1, 4, 5]]
    for step, value in enumerate(values):
        # A new object each time: the best step must survive a restart.
        with Checkpoints(tmp_path, best=["loss"]) as checkpoints:
            checkpoints.save(
                step, {"a": jnp.ones(2)}, {}, {"other": -1.0 * step} | ({} if value is None else {"loss": value})
            )
            checkpoints.wait()
            assert checkpoints.steps() == kept[step]
            assert checkpoints.best_step() == (0 if step == 0 else 1)
    with Checkpoints(tmp_path, best=["loss"]) as checkpoints:
        for step, value in ((6, 2.0), (7, 9.0), (8, 9.0)):  # of equals, the later one
            checkpoints.save(step, {"a": jnp.ones(2)}, {}, {"loss": value})
        checkpoints.wait()
        assert (checkpoints.steps(), checkpoints.best_step()) == ([6, 7, 8], 6)


def test_nothing_is_pickled(workdir: Path):
    for path in folder(workdir, 2).rglob("*"):
        if path.is_file():
            with pytest.raises(ValueError):  # noqa: PT011 - the messages are pickletools' own
                list(pickletools.genops(path.read_bytes()))


def test_orbax_is_quiet_and_nobody_else(tmp_path: Path):
    before = (logging.get_verbosity(), list(logging.get_absl_logger().filters))
    messages: list[str] = []

    class Collector(python_logging.Handler):
        def emit(self, record: python_logging.LogRecord) -> None:
            messages.append(record.getMessage())

    handler = Collector()
    logger = logging.get_absl_logger()
    logger.addHandler(handler)
    logging.set_verbosity(logging.INFO)
    try:
        save(tmp_path, 1)
        with Checkpoints(tmp_path) as checkpoints:
            checkpoints.restore_latest(LIKE)
            logging.info("from a user")
    finally:
        logging.set_verbosity(before[0])
        logger.removeHandler(handler)
    assert messages == ["from a user"]
    assert logger.filters == before[1]


# ---- Damage.


def largest(step: Path) -> Path:
    return max((p for p in (step / "state").glob("d/*") if p.is_file()), key=lambda p: p.stat().st_size)


def flip(path: Path, byte: int) -> None:
    data = bytearray(path.read_bytes())
    data[byte] ^= 4
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def flip_a_value(step: Path) -> None:
    """Change one bit of an array as Orbax stores it, in a valid file, so that it loads without complaint."""
    import tensorstore

    store = {"driver": "ocdbt", "base": f"file://{step / 'state'}/"}
    array = tensorstore.open({"driver": "zarr", "kvstore": {**store, "path": "ema.conv.kernel/"}}).result()
    value = array.read().result()
    value.view(np.uint32)[2, 3] ^= 1
    array.write(value).result()


def rename_a_leaf(step: Path) -> None:
    path = step / "state" / "_METADATA"
    metadata = json.loads(path.read_text())
    metadata["tree_metadata"]["('ema', 'conv', 'bias')"]["key_metadata"][2]["key"] = "bia"
    path.write_text(json.dumps(metadata))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "truncated data": lambda step: truncate(largest(step)),
    "deleted data": lambda step: largest(step).unlink(),
    "flipped bit in a file": lambda step: flip(largest(step), largest(step).stat().st_size // 3),
    "flipped bit in a value": flip_a_value,
    "deleted index of arrays": lambda step: (step / "state" / "manifest.ocdbt").unlink(),
    "garbled metadata": lambda step: (step / "state" / "_METADATA").write_bytes(b"\xff\xfe{"),
    "leaf renamed in metadata": rename_a_leaf,
    "missing item": lambda step: shutil.rmtree(step / "state"),
    "missing manifest": lambda step: shutil.rmtree(step / "meta"),
    "empty manifest": lambda step: (step / "meta" / "metadata").write_text(""),
    "another manifest": lambda step: (step / "meta" / "metadata").write_text("[]"),
    "metric changed": lambda step: edit(
        step / "meta" / "metadata", '"test_bits_per_dim": 0.5', '"test_bits_per_dim": 0.1'
    ),
    "position changed": lambda step: edit(step / "data" / "metadata", "14", "15"),
    "truncated position": lambda step: (step / "data" / "metadata").write_text('{"next_'),
    "everything deleted": lambda step: [shutil.rmtree(p) for p in step.iterdir() if p.is_dir()],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_step_is_named_and_the_one_before_used(workdir: Path, damage: str, caplog: pytest.LogCaptureFixture):
    DAMAGE[damage](folder(workdir, 2))
    with Checkpoints(workdir) as checkpoints:
        with pytest.raises(CheckpointError, match=r"checkpoints/2 is damaged: .+"):
            checkpoints.restore(2, LIKE)
        assert checkpoints.steps() == [1, 2]
        restored = checkpoints.restore_latest(LIKE)
        assert restored is not None
        assert (restored.step, restored.data) == (1, {"next_index": 7})
        assert_same(restored.state, make_state(1))
        assert f"{folder(workdir, 2)} is damaged: " in caplog.text
        assert f"to {folder(workdir, 'damaged-2')}" in caplog.text
        assert checkpoints.steps() == [1]
        assert folder(workdir, "damaged-2").is_dir()
        # Out of Orbax's way: the step is reached, and saved, again.
        checkpoints.save(2, make_state(2), {"next_index": 14}, {"test_bits_per_dim": 0.5})
        checkpoints.wait()
        assert checkpoints.steps() == [1, 2]
        assert checkpoints.best_step() == 2
    with Checkpoints(workdir) as checkpoints:
        again = checkpoints.restore_latest(LIKE)
        assert again is not None
        assert again.step == 2
        assert_same(again.state, make_state(2))


def test_a_flipped_value_is_found_by_its_checksum(workdir: Path):
    flip_a_value(folder(workdir, 2))
    with Checkpoints(workdir) as checkpoints:
        with pytest.raises(CheckpointError, match=r"the checksum of ema/conv/kernel differs"):
            checkpoints.restore(2, LIKE)
        with pytest.raises(CheckpointError, match=r"the checksum of ema/conv/kernel differs"):
            checkpoints.restore_part({"ema": LIKE["ema"]}, step=2)


def test_a_step_damaged_twice_keeps_both_copies(workdir: Path):
    for _ in range(2):
        truncate(largest(folder(workdir, 2)))
        with Checkpoints(workdir) as checkpoints:
            assert checkpoints.restore_latest(LIKE).step == 1  # pyright: ignore
            checkpoints.save(2, make_state(2), {}, {})
    assert folder(workdir, "damaged-2").is_dir()
    assert folder(workdir, "damaged-2.1").is_dir()


def test_a_damaged_best_step_does_not_stop_saving(workdir: Path):
    (folder(workdir, 2) / "meta" / "metadata").write_text("{")
    save(workdir, 3, 4)
    with Checkpoints(workdir) as checkpoints:
        assert checkpoints.steps() == [3, 4]


def test_when_every_step_is_damaged_nothing_starts_afresh(workdir: Path):
    flip_a_value(folder(workdir, 1))
    truncate(largest(folder(workdir, 2)))
    before = names(workdir)
    for _ in range(2):  # and not the next time either
        with Checkpoints(workdir) as checkpoints:
            with pytest.raises(CheckpointError) as error:
                checkpoints.restore_latest(LIKE)
            assert f"{folder(workdir, 1)} is damaged: the checksum of ema/conv/kernel differs" in str(error.value)
            assert f"{folder(workdir, 2)} is damaged: " in str(error.value)
            with pytest.raises(CheckpointError, match="No checkpoint can be used"):
                checkpoints.restore_part({"ema": LIKE["ema"]})
        assert names(workdir) == before


def test_a_folder_of_only_damaged_steps_does_not_start_afresh(workdir: Path):
    truncate(largest(folder(workdir, 2)))
    with Checkpoints(workdir) as checkpoints:
        checkpoints.restore_latest(LIKE)
    shutil.rmtree(folder(workdir, 1))
    with Checkpoints(workdir) as checkpoints, pytest.raises(CheckpointError, match="holds only damaged checkpoints"):
        checkpoints.restore_latest(LIKE)


# ---- Another configuration is not damage.


def changed(path: str, leaf: Any) -> dict[str, Any]:
    like = jax.tree.map(lambda x: x, LIKE)
    *parents, name = path.split("/")
    node = like
    for parent in parents:
        node = node[parent]
    if leaf is None:
        del node[name]
    else:
        node[name] = leaf
    return like


MISMATCHES = [
    (
        changed("ema/conv/kernel", jax.ShapeDtypeStruct((4, 8), jnp.float32)),
        r"ema/conv/kernel has shape \(4, 6\) in the checkpoint, but \(4, 8\) here",
    ),
    (
        changed("ema/conv/bias", jax.ShapeDtypeStruct((3,), jnp.float32)),
        "ema/conv/bias is bfloat16 in the checkpoint, but float32 here",
    ),
    (changed("key", jax.eval_shape(lambda: jax.random.key(0, impl="rbg"))), r"key is key<fry> in .* key<rbg> here"),
    (changed("variables/extra", jax.ShapeDtypeStruct((1,), jnp.float32)), "variables/extra is not in the checkpoint"),
    (changed("variables/buffers/mask", None), "variables/buffers/mask is in the checkpoint, but not here"),
]


@pytest.mark.parametrize(("like", "message"), MISMATCHES)
def test_another_tree_is_named_and_nothing_moved(workdir: Path, like: Any, message: str):
    before = contents(folder(workdir, 2))
    with Checkpoints(workdir) as checkpoints:
        for restore in (checkpoints.restore_latest, lambda like: checkpoints.restore(2, like)):
            with pytest.raises(CheckpointError, match=message) as error:
                restore(like)
            assert str(folder(workdir, 2)) in str(error.value)
        assert checkpoints.steps() == [1, 2]
    assert contents(folder(workdir, 2)) == before


def test_many_differences_are_cut_short(workdir: Path):
    with Checkpoints(workdir) as checkpoints, pytest.raises(CheckpointError, match=r"and 4 more$"):
        checkpoints.restore(2, {})


# ---- Reading a part.


def test_a_part_is_read_without_the_rest(workdir: Path):
    part = {"ema": LIKE["ema"], "variables": LIKE["variables"]}
    with Checkpoints(workdir) as checkpoints:
        restored = checkpoints.restore_part(part)
        assert (restored.step, restored.data) == (2, {"next_index": 14})
        assert_same(restored.state, {name: make_state(2)[name] for name in part})
        assert_same(checkpoints.restore_part({"key": LIKE["key"]}, step=1).state, {"key": make_state(1)["key"]})
        with pytest.raises(CheckpointError, match="ema/other is not in the checkpoint"):
            checkpoints.restore_part({"ema": {"other": LIKE["step"]}})
        # The bits of other leaves do not matter, for they are not read.
        flip_a_value(folder(workdir, 2))
        assert checkpoints.restore_part({"variables": part["variables"]}).step == 2
        assert checkpoints.restore_part(part).step == 1


def test_reading_leaves_no_trace(workdir: Path):
    truncate(largest(folder(workdir, 2)))
    folder(workdir, "3.orbax-checkpoint-tmp").mkdir()  # another process is saving step 3
    before = contents(workdir)
    folders = [path for path in [workdir, *workdir.rglob("*")] if path.is_dir()]
    for path in folders:
        path.chmod(0o555)
    try:
        with Checkpoints(workdir) as checkpoints:
            assert checkpoints.restore_part({"ema": LIKE["ema"]}).step == 1
            assert checkpoints.restore(1, LIKE).step == 1
            assert checkpoints.steps() == [1, 2]
            assert checkpoints.best_step() == 2
            with pytest.raises(CheckpointError):
                checkpoints.restore(2, LIKE)
    finally:
        for path in folders:
            path.chmod(0o755)
    assert contents(workdir) == before


# ---- Saves that fail or are cut short.


@contextmanager
def full_disk() -> Iterator[None]:
    """The system refuses to let any file grow beyond two megabytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**21, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_a_clear_error(workdir: Path):
    big = {"a": jax.random.normal(jax.random.key(0), (1000, 1000))}
    before = contents(folder(workdir, 2))
    with Checkpoints(workdir) as checkpoints:
        with full_disk():
            for _ in range(2):  # trying again does not take the failed step for a saved one
                checkpoints.save(3, big, {}, {"test_bits_per_dim": 0.0})
                with pytest.raises(CheckpointError, match=r"Step 3 could not be saved in .* \(is the disk full\?\)"):
                    checkpoints.wait()
                assert checkpoints.steps() == [1, 2]
                assert checkpoints.best_step() == 2
        assert checkpoints.restore_latest(LIKE).step == 2  # pyright: ignore
        checkpoints.save(3, big, {}, {})
        checkpoints.wait()
        assert checkpoints.steps() == [2, 3]
    assert contents(folder(workdir, 2)) == before


def test_the_next_save_reports_a_full_disk(workdir: Path):
    big = {"a": jax.random.normal(jax.random.key(0), (1000, 1000))}
    checkpoints = Checkpoints(workdir)
    with full_disk():
        checkpoints.save(3, big, {}, {})
        with pytest.raises(CheckpointError, match="Step 3 could not be saved"):
            checkpoints.save(4, big, {}, {})
        checkpoints.save(4, big, {}, {})
        with pytest.raises(CheckpointError, match="Step 4 could not be saved"):
            checkpoints.close()
    assert Checkpoints(workdir).steps() == [1, 2]


KILLED = """
import os, signal, sys
import jax
from glowdiff.training.checkpoint import Checkpoints

checkpoints = Checkpoints(sys.argv[1])
big = {"a": jax.random.bits(jax.random.key(0), (4000, 4000))}
checkpoints.save(3, big, {}, {})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_save_that_is_killed_leaves_the_step_before(workdir: Path):
    result = subprocess.run([sys.executable, "-c", KILLED, str(workdir)], capture_output=True, text=True)
    assert result.returncode == -signal.SIGKILL, result.stderr
    left = [name for name in names(workdir) if "tmp" in name]
    assert left == ["3.orbax-checkpoint-tmp"]
    with Checkpoints(workdir) as checkpoints:
        assert checkpoints.steps() == [1, 2]
        assert checkpoints.restore_latest(LIKE).step == 2  # pyright: ignore
        assert names(workdir) == ["1", "2"]


# ---- Other devices.

DEVICES = """
import json, sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from glowdiff.training.checkpoint import Checkpoints

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
        sums.append((checkpoints._root / str(step + 1) / "meta" / "metadata").read_text())
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
from glowdiff.training import checkpoint
from glowdiff.training.checkpoint import Checkpoints

mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
split, whole = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
make = jax.jit(lambda step: {"w": jnp.arange(8.0) + step, "key": jax.random.key(step)},
               out_shardings={"w": split, "key": whole})
like = {"w": jax.ShapeDtypeStruct((8,), jnp.float32, sharding=split),
        "key": jax.ShapeDtypeStruct((), jax.random.key(0).dtype, sharding=whole)}

read_arrays = checkpoint._read_arrays
def fail(folder, *rest):
    if process == 1 and folder.name == "3":
        raise ValueError("this shard is damaged")
    return read_arrays(folder, *rest)

with Checkpoints(workdir) as checkpoints:
    assert checkpoints.restore_latest(like) is None
    for step in (1, 2, 3):
        checkpoints.save(step, make(step), {"next_index": step}, {"test_bits_per_dim": float(step)})
    checkpoints.wait()
    checkpoint._read_arrays = fail
    restored = checkpoints.restore_latest(like)
    assert (restored.step, restored.data) == (2, {"next_index": 2})
    local = np.concatenate([shard.data for shard in restored.state["w"].addressable_shards])
    assert local.tolist() == [4 * process + 2.0 + i for i in range(4)]
    assert checkpoints.steps() == [1, 2]
    checkpoint._read_arrays = read_arrays
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
