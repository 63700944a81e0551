"""Sums that find a flipped bit, and do not depend on how an array is spread over devices.

An array's bits are read as 32-bit words w_0, w_1 ... in row-major order (an element of a narrower type is one word).
Its checksum is sum_i (2i + 1) w_i mod 2^32. A weight is odd, hence invertible mod 2^32, so changing any one word
changes the sum. Integer addition is associative, so the sum is the same for any sharding, device or process count,
and it is computed where the shards are: no array travels, and of arrays in the host's memory nothing is compiled.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

PyTree = Any
_AT_ONCE = 2**20  # words, so that the weights need no memory to speak of


def checksums(tree: PyTree) -> dict[str, int]:
    """The checksum of each leaf, by its path (such as `variables/params/conv/kernel`).

    Every process of a multi-process run must call this at the same time, and gets the same sums.

    Args:
      tree: a tree of arrays of any dtype, typed PRNG keys included.

    Raises:
      TypeError: a leaf is not an array that JAX can hold.
      ValueError: two leaves have the same path.
    """
    # Every sum is dispatched before the first is waited for.
    arrays = {path: key_data(as_array(path, leaf)) for path, leaf in leaves_by_path(tree).items()}
    sums = {path: _on_host(array) if _is_on_host(array) else _checksum(array) for path, array in arrays.items()}
    return {path: int(value) for path, value in jax.device_get(sums).items()}


def leaves_by_path(tree: PyTree) -> dict[str, Any]:
    """The leaves of `tree` by their path.

    Raises:
      ValueError: two leaves have the same path.
    """
    leaves: dict[str, Any] = {}
    for key_path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        path = jax.tree_util.keystr(key_path, simple=True, separator="/")
        if path in leaves:
            raise ValueError(f"Two leaves of the tree have the same path, {path!r}.")
        leaves[path] = leaf
    return leaves


def as_array(path: str, leaf: Any) -> jax.Array:
    """`leaf` as a JAX array of the same dtype.

    Raises:
      TypeError: it is no array of numbers, or its dtype needs `jax_enable_x64`.
    """
    if isinstance(leaf, jax.Array):
        return leaf
    try:
        array = jnp.asarray(leaf)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{path} is a {type(leaf).__name__}; only arrays of numbers are saved.") from error
    dtype = getattr(leaf, "dtype", array.dtype)
    if array.dtype != dtype:
        raise TypeError(f"{path} is {dtype}, which JAX would turn into {array.dtype}; convert it, or enable x64.")
    return array


def key_data(array: jax.Array) -> jax.Array:
    """The integers of typed PRNG keys; any other array as it is."""
    return jax.random.key_data(array) if jnp.issubdtype(array.dtype, jax.dtypes.prng_key) else array


def _is_on_host(array: jax.Array) -> bool:
    """Whether NumPy sees the array without a copy, in elements of whole bytes."""
    devices = array.devices()
    whole_bytes = not array.dtype.name.endswith(("int2", "int4", "float4_e2m1fn"))
    return len(devices) == 1 and next(iter(devices)).platform == "cpu" and whole_bytes


def _on_host(array: jax.Array) -> int:
    flat = np.asarray(array).ravel()
    words = flat.view(f"<u{min(flat.itemsize, 4)}")
    total = 0
    for start in range(0, words.size, _AT_ONCE):
        some = words[start : start + _AT_ONCE].astype(np.uint32)
        weights = np.arange(2 * start + 1, 2 * (start + some.size), 2, dtype=np.uint64).astype(np.uint32)
        total += int(np.sum(some * weights, dtype=np.uint32))
    return total % 2**32


# One small program per shape, dtype and sharding: a program for the whole tree would take far longer to compile.
@jax.jit
def _checksum(array: jax.Array) -> jax.Array:
    words = _words(array)
    index = jnp.zeros(array.shape, jnp.uint32)
    for axis in range(array.ndim):  # no reshape, which would gather a sharded array
        stride = math.prod(array.shape[axis + 1 :]) % 2**32
        index = index + jnp.uint32(stride) * lax.broadcasted_iota(jnp.uint32, array.shape, axis)
    first = index * jnp.uint32(len(words))
    total = jnp.zeros((), jnp.uint32)
    for offset, word in enumerate(words):
        weight = jnp.uint32(2) * (first + jnp.uint32(offset)) + jnp.uint32(1)
        total = total + jnp.sum(weight * word, dtype=jnp.uint32)
    return total


def _words(array: jax.Array) -> list[jax.Array]:
    """The bits of every element as 32-bit words, lowest first."""
    dtype = array.dtype
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return _words(array.real) + _words(array.imag)
    if dtype == jnp.bool_:
        return [array.astype(jnp.uint32)]
    bits = jnp.iinfo(dtype).bits if jnp.issubdtype(dtype, jnp.integer) else jnp.finfo(dtype).bits
    if bits == 64:
        pairs = lax.bitcast_convert_type(array, jnp.uint32)
        return [pairs[..., 0], pairs[..., 1]]
    return [lax.bitcast_convert_type(array, f"uint{bits}").astype(jnp.uint32)]
