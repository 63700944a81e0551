import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glowdiff.workdir.checksum import checksums, leaves_by_path

NARROW = ["bool", "uint8", "int8", "int16", "uint32", "int32", "float8_e4m3fn", "bfloat16", "float16", "float32"]
WIDE = ["int64", "uint64", "float64", "complex64", "complex128"]


def bits_of(dtype: str) -> int:
    return 1 if dtype == "bool" else np.dtype(jnp.dtype(dtype)).itemsize * 8


def flipped(array: np.ndarray, bit: int) -> np.ndarray:
    changed = bytearray(array.tobytes())
    changed[bit // 8] ^= 1 << (bit % 8)
    return np.frombuffer(bytes(changed), array.dtype).reshape(array.shape)


@pytest.mark.parametrize("dtype", NARROW + WIDE)
def test_every_flipped_bit_changes_the_sum(dtype: str):
    with jax.enable_x64(True):
        array = np.asarray(jnp.arange(6).reshape(2, 3).astype(dtype))
        before = checksums({"a": array})
        size = array.dtype.itemsize * 8
        for element in range(array.size):
            for bit in range(bits_of(dtype)):
                assert checksums({"a": flipped(array, element * size + bit)}) != before, (element, bit)


def test_every_bit_of_a_key_counts():
    key = jax.random.split(jax.random.key(0), 2)
    data = np.asarray(jax.random.key_data(key))
    before = checksums({"key": key})
    for bit in range(data.size * 32):
        assert checksums({"key": jax.random.wrap_key_data(jnp.asarray(flipped(data, bit)))}) != before


def test_the_sum_is_the_documented_one():
    array = np.array([[1.5, -2.0], [0.0, 3.0]], np.float32)
    words = array.view(np.uint32).ravel().astype(object)
    expected = sum((2 * i + 1) * int(word) for i, word in enumerate(words)) % 2**32
    assert checksums({"a": array, "b": {"c": jnp.asarray(array)}}) == {"a": expected, "b/c": expected}
    with jax.enable_x64(True):
        long = np.array([2**40 + 3, -1], np.int64)  # two words each, the lower one first
        words = [3, 2**8, 2**32 - 1, 2**32 - 1]
        assert checksums([long]) == {"0": sum((2 * i + 1) * word for i, word in enumerate(words)) % 2**32}


def test_swapped_elements_change_the_sum():
    assert checksums([jnp.array([1, 2])]) != checksums([jnp.array([2, 1])])


def test_scalars_and_empty_arrays():
    assert checksums({"scalar": jnp.int32(5), "number": 7, "empty": jnp.zeros((0, 3)), "nothing": None}) == {
        "empty": 0,
        "number": 7,
        "scalar": 5,
    }


def test_what_is_no_array_is_refused():
    with pytest.raises(TypeError, match=r"a/name is a str"):
        checksums({"a": {"name": "text"}})
    with pytest.raises(TypeError, match="a is a ndarray"):
        checksums({"a": np.array([object()])})
    with pytest.raises(TypeError, match="a is float64, which JAX would turn into float32"):
        checksums({"a": np.ones(2)})


def test_two_leaves_of_one_path_are_refused():
    with pytest.raises(ValueError, match="'a/b'"):
        leaves_by_path({"a": {"b": 1}, "a/b": 2})


SHARDED = """
import jax, jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from glowdiff.workdir.checksum import checksums

jax.config.update("jax_enable_x64", True)
assert jax.device_count() == 8
mesh = jax.make_mesh((4, 2), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)
bits = jax.random.bits(jax.random.key(0), (16, 8), jnp.uint32)
for dtype in ("float32", "bfloat16", "uint8", "bool", "int64", "float64"):
    array = (bits % 200).astype(dtype)
    expected = checksums([array])
    for spec in (P(), P("data"), P(None, "data"), P("fsdp", "data"), P(("data", "fsdp"))):
        assert checksums([jax.device_put(array, NamedSharding(mesh, spec))]) == expected, (dtype, spec)
    print(dtype, expected["0"])
"""


def test_the_sum_does_not_depend_on_the_sharding():
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    result = subprocess.run([sys.executable, "-c", SHARDED], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    with jax.enable_x64(True):
        bits = jax.random.bits(jax.random.key(0), (16, 8), jnp.uint32)
        for line in result.stdout.splitlines():
            dtype, value = line.split()
            assert checksums([(bits % 200).astype(dtype)]) == {"0": int(value)}
    assert len(result.stdout.splitlines()) == 6
