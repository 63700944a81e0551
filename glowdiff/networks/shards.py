"""Parameters that stay split over "fsdp" until a layer reads them (ZeRO's stage 3; Rajbhandari et al., 2020).

`shards` puts every array that is worth it into a box. Linen opens boxes where a module asks for a parameter, so no
module knows of them: there the array is cast to what the layer computes in, gathered, and used; its gradient leaves the
layer reduced and scattered. Blocks that are recomputed gather again in the backward pass; `remat` sees to it that the
others do as well, for a gathered copy that is kept until then is the whole model.
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
from flax.core import lift
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from glowdiff.sharding import REPLICATED, partition_spec, replicated

MIN_GATHERED = 2**16  # elements; smaller arrays cost less to hold from the head of a program on than to gather often
GATHERED = "gathered parameter"  # the name by which policies of `jax.checkpoint` know them
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
        return checkpoint_name(_gather(self.value, jnp.dtype(dtype), self.mesh), GATHERED)

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
    boxed = lambda leaf: isinstance(leaf, Shard)  # noqa: E731
    return jax.tree.map(lambda leaf: leaf.value if isinstance(leaf, Shard) else leaf, tree, is_leaf=boxed)


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


def remat(block: Any, everything: bool, **options: Any) -> Any:
    """A module class, or a function of a module, that is computed again in the backward pass.

    Args:
      block: what `nn.remat` takes.
      everything: its activations as well; else only its parameters are gathered again, if they are in boxes.
      **options: of `nn.remat`.
    """
    if everything:
        return nn.remat(block, **options)
    if not in_shards():
        return block
    return nn.remat(block, policy=jax.checkpoint_policies.save_anything_except_these_names(GATHERED), **options)


def in_order(block: Any) -> Any:
    """A module class whose gradients are reduced before those of its input go on, if parameters are in boxes.

    Left to itself the compiler puts off what nothing waits for: gradients of parameters, with all that they are made
    of, until the memory is full; and it sums many of them at once, whole.
    """
    return nn.transforms.lift_transform(_lift_in_order, block) if in_shards() else block


def _lift_in_order(function: Callable[..., Any]) -> Callable[..., Any]:
    def inner(scope: Any, repack: Any, variables: Any, rngs: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        leaves, tree = jax.tree.flatten((variables, args))
        numbers = [i for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array) and _is_float(leaf)]
        for i, leaf in zip(numbers, _joined([leaves[i] for i in numbers]), strict=True):
            leaves[i] = leaf
        variables, args = jax.tree.unflatten(tree, leaves)
        inside = scope(variables, rngs)
        return function(inside, *args, **kwargs), repack(inside)

    return lift.pack(inner, (True,), (True,), (True,), name="in_order")


def _is_float(array: jax.Array) -> bool:
    return jnp.issubdtype(array.dtype, jnp.floating)


@jax.custom_vjp
def _joined(arrays: list[jax.Array]) -> list[jax.Array]:
    """The arrays themselves; of their gradients none is there before all are."""
    return arrays


_joined.defvjp(lambda arrays: (arrays, None), lambda _, gradients: (jax.lax.optimization_barrier(gradients),))


def narrow(x: jax.Array, dtype: Any) -> jax.Array:
    """X in a narrower type; where parameters are in boxes, its gradient is kept in that type too.

    Compilers like to widen it where it is made, for what comes next is computed in float32, and keep twice the bytes.
    """
    return _narrow(x, dtype) if in_shards() and x.dtype != dtype else x.astype(dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _narrow(x: jax.Array, dtype: Any) -> jax.Array:
    return x.astype(dtype)


def _narrow_backward(dtype: Any, like: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    del dtype
    return (jax.lax.optimization_barrier(gradient).astype(like.dtype),)


_narrow.defvjp(lambda x, dtype: (x.astype(dtype), jnp.zeros((), x.dtype)), _narrow_backward)


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
