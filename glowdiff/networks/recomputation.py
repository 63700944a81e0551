"""What blocks keep for the backward pass, and in which order that pass goes.

Where parameters are in boxes (`shards`) memory counts. Blocks gather again what they gathered, for copies kept until
then would be the whole model; and a block's gradients are done with before the next block's begin.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import lift
from jax.ad_checkpoint import checkpoint_name

from glowdiff.networks.shards import in_shards


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
    return nn.remat(block, policy=_all_but_gathered, **options)


def _all_but_gathered(primitive: Any, *_: Any, **__: Any) -> bool:
    """The policy of `jax.checkpoint` that keeps everything but gathered parameters.

    These come from a `custom_vjp`. A name for them (`checkpoint_name`) would not do: what the name is given to would be
    kept in its place. Activations that come from one need a name to be kept, see `narrow`.
    """
    return primitive.name not in ("custom_vjp_call", "sharding_constraint")


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
    if not in_shards() or x.dtype == dtype:
        return x.astype(dtype)
    return checkpoint_name(_narrow(x, dtype), "activation")


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _narrow(x: jax.Array, dtype: Any) -> jax.Array:
    return x.astype(dtype)


def _narrow_backward(dtype: Any, like: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    del dtype
    return (jax.lax.optimization_barrier(gradient).astype(like.dtype),)


_narrow.defvjp(lambda x, dtype: (x.astype(dtype), jnp.zeros((), x.dtype)), _narrow_backward)
