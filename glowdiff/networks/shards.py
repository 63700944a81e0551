"""Parameters that stay split over "fsdp" until a layer reads them (ZeRO's stage 3; Rajbhandari et al., 2020).

`shards` puts every array that is worth it into a box. Linen opens boxes where a module asks for a parameter, so no
module knows of them: there the array is cast to what the layer computes in, gathered, and used; its gradient leaves the
layer reduced and scattered. What blocks keep for that is the matter of `recomputation`.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from glowdiff.sharding import REPLICATED, partition_spec, replicated

MIN_GATHERED = 2**16  # elements; smaller arrays cost less to hold from the head of a program on than to gather often
# Layers that cast all their parameters to their `dtype` before they compute: what travels may be cast already.
_CASTING = (nn.Dense, nn.Conv, nn.Embed)

_readers: ContextVar[list[nn.Module] | None] = ContextVar("readers", default=None)  # the innermost module last


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Shard(nn.meta.AxisMetadata[jax.Array]):
    """The box of one array of parameters, or of a slice of it in a scan."""

    value: Any
    mesh: Mesh = field(metadata={"static": True})

    def unbox(self) -> jax.Array:
        """The whole array, in the type that the layer which reads it computes in."""
        layer = (_readers.get() or [None])[-1]
        casts = isinstance(layer, _CASTING) or getattr(layer, "casts", False)
        dtype = (getattr(layer, "dtype", None) if casts else None) or self.value.dtype
        return _gather(self.value, jnp.dtype(dtype), self.mesh)

    def replace_boxed(self, val: Any) -> Shard:
        """The same box around something else."""
        return replace(self, value=val)

    def add_axis(self, index: int, params: dict[Any, Any]) -> Shard:
        """The sharding follows from the shape alone."""
        del index, params
        return self

    def remove_axis(self, index: int, params: dict[Any, Any]) -> Shard:
        """The sharding follows from the shape alone."""
        del index, params
        return self


def shards(params: Any, mesh: Mesh) -> Any:
    """Parameters as a program that splits them reads them, to be called at its head.

    Arrays that are worth gathering often are boxed, the others gathered; with `mesh.fsdp=1` all of them. What reads
    them is to be traced within `reading`. The leaves are those of `params`, in the same order.
    """

    def shard(array: jax.Array) -> Any:
        late = partition_spec(array.shape, mesh) != REPLICATED and array.size >= MIN_GATHERED
        return Shard(array, mesh) if late else jax.lax.with_sharding_constraint(array, replicated(mesh))

    return jax.tree.map(shard, params)


def arrays(tree: Any) -> Any:
    """Of a tree such as `shards` makes, what is in the boxes; it stays split."""
    return jax.tree.map(lambda leaf: leaf.value if _is_box(leaf) else leaf, tree, is_leaf=_is_box)


def scattered(gradients: Any, mesh: Mesh) -> Any:
    """Gradients of what `shards` made, split as the state is, boxes included; with `mesh.fsdp=1` unchanged."""

    def scatter(leaf: Any) -> Any:
        split = NamedSharding(mesh, partition_spec(leaf.value.shape if _is_box(leaf) else leaf.shape, mesh))
        if _is_box(leaf):
            return replace(leaf, value=jax.lax.with_sharding_constraint(leaf.value, split))
        whole = jax.lax.with_sharding_constraint(leaf, replicated(mesh))  # small: summed once, then cut
        return jax.lax.with_sharding_constraint(whole, split)

    return gradients if mesh.shape["fsdp"] == 1 else jax.tree.map(scatter, gradients, is_leaf=_is_box)


def _is_box(leaf: Any) -> bool:
    return isinstance(leaf, Shard)


@contextlib.contextmanager
def reading(mesh: Mesh) -> Iterator[None]:
    """Where functions of `shards` are traced, gradients included; with `mesh.fsdp=1` it changes nothing."""
    if mesh.shape["fsdp"] == 1:
        yield
        return
    readers: list[nn.Module] = []

    def note(call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], context: Any) -> Any:
        readers.append(context.module)
        try:
            return call(*args, **kwargs)
        finally:
            readers.pop()

    token = _readers.set(readers)
    try:
        with nn.intercept_methods(note):
            yield
    finally:
        _readers.reset(token)


def in_shards() -> bool:
    """Whether what is traced reads boxes: memory counts there, and its program is one for several devices."""
    return _readers.get() is not None


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _gather(shard: jax.Array, dtype: Any, mesh: Mesh) -> jax.Array:
    """The whole of a split array, cast before it travels; the gradient is scattered before it is cast back."""
    split = NamedSharding(mesh, partition_spec(shard.shape, mesh))
    shard = jax.lax.with_sharding_constraint(shard.astype(dtype), split)
    return jax.lax.with_sharding_constraint(shard, replicated(mesh))


def _gather_forward(shard: jax.Array, dtype: Any, mesh: Mesh) -> tuple[jax.Array, jax.Array]:
    return _gather(shard, dtype, mesh), jnp.zeros((), shard.dtype)


def _gather_backward(dtype: Any, mesh: Mesh, like: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    del dtype
    for sharding in _scattering(gradient.shape, mesh):
        gradient = jax.lax.with_sharding_constraint(gradient, sharding)
    return (gradient.astype(like.dtype),)


_gather.defvjp(_gather_forward, _gather_backward)


def _scattering(shape: tuple[int, ...], mesh: Mesh) -> list[NamedSharding]:
    """The shardings that a sum over all devices goes through until it is split over "fsdp".

    A TPU scatters along one side of its torus at a time. Asked for all devices at once its compiler sums whole arrays
    everywhere, or cuts the product that makes the gradient into as many narrow ones as there are devices.
    """
    spec, fsdp = partition_spec(shape, mesh), mesh.shape["fsdp"]
    split = NamedSharding(mesh, spec)
    rows = max(n for n in range(1, math.isqrt(fsdp) + 1) if fsdp % n == 0)
    if spec == REPLICATED or rows == 1 or mesh.devices.flat[0].platform != "tpu":
        return [split]
    devices = mesh.devices.reshape(mesh.shape["data"], rows, fsdp // rows)
    torus = Mesh(devices, ("data", "row", "column"), axis_types=(AxisType.Auto,) * 3)
    places = [tuple(axes if name else None for name in spec) for axes in ("row", ("row", "column"))]
    return [*(NamedSharding(torus, PartitionSpec(*place)) for place in places), split]
