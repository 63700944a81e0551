"""The train step of every method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from glowdiff.config.sections import Config
from glowdiff.method import Aux, Batch, Method, Variables
from glowdiff.networks.shards import arrays, reading, scattered, shards
from glowdiff.sharding import BATCH, batch_sharding, replicated, state_shardings
from glowdiff.training.state import TrainState

Metrics = dict[str, jax.Array]


def make_train_step(
    method: Method, optimizer: optax.GradientTransformation, schedule: optax.Schedule, config: Config, mesh: Mesh
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """The pure function (state, global batch, frozen) -> (state, metrics); `jit_train_step` compiles it.

    `frozen` are the variables of other models that serve this one, by name: read, and nothing else.

    A step whose loss or gradient is not finite changes nothing but the counters. Metrics are scalars: the loss's own,
    `loss`, `grad_norm`, `learning_rate`, `clipped` (0 or 1), `skipped`, `skipped_in_row`.
    """
    gather = replicated(mesh)

    def train_step(
        state: TrainState, batch: Batch, frozen: Mapping[str, Variables] | None = None
    ) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(state.key, state.step)
        sharded, rest = state.variables["params"], {k: v for k, v in state.variables.items() if k != "params"}
        fixed = {"frozen": jax.lax.with_sharding_constraint(frozen, gather)} if frozen else {}

        def loss(params: Any, rest: Any, key: jax.Array, batch: Batch) -> tuple[jax.Array, Aux]:
            return method.loss({"params": params, **rest, **fixed}, key, batch)

        # fsdp: layers gather what they read; whatever is as large as the model is split, gradients and sums included.
        with reading(mesh):
            gradient = _mean_gradient(loss, config.train.accumulate, mesh)
            (value, aux), grads = gradient(shards(sharded, mesh), rest, key, batch)
        grads = jax.lax.with_sharding_constraint(arrays(grads), state_shardings(sharded, mesh))
        norm = optax.tree.norm(grads)
        updates, opt_state = optimizer.update(grads, state.opt_state, sharded)
        new_params = optax.apply_updates(sharded, updates)
        # Normalised weights: after n steps the average is sum(decay^(n-i) params_i) / sum(decay^(n-i)), i = 1 ... n.
        decay = config.train.ema_decay
        rate = (1 - decay) / (1 - decay ** (state.step + 1.0))
        ema = jax.tree.map(lambda a, p: a + (rate * (p - a)).astype(a.dtype), state.ema, new_params)
        ema = ema if decay else new_params

        finite = jnp.isfinite(value) & jnp.isfinite(norm)
        new = (dict(state.variables) | aux.updates | {"params": new_params}, ema, opt_state)
        old = (dict(state.variables), state.ema, state.opt_state)
        variables, ema, opt_state = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, old)
        skipped = state.skipped + ~finite
        in_row = jnp.where(finite, 0, state.skipped_in_row + 1)
        metrics = aux.metrics | {
            "loss": value,
            "grad_norm": norm,
            "learning_rate": schedule(state.step),
            "clipped": (norm > config.train.clip).astype(jnp.int32) if config.train.clip else jnp.int32(0),
            "skipped": skipped,
            "skipped_in_row": in_row,
        }
        return TrainState(state.step + 1, state.key, variables, ema, opt_state, skipped, in_row), metrics

    return train_step


def jit_train_step(
    train_step: Callable[..., Any], state: TrainState, mesh: Mesh, frozen: Mapping[str, Variables] | None = None
) -> Any:
    """`train_step` compiled for the mesh: `state` (arrays or shapes) tells the shardings; its buffers are donated.

    It takes `frozen` as its third argument where there is any.
    """
    shardings = state_shardings(state, mesh)
    more = (state_shardings(frozen, mesh),) if frozen else ()
    return jax.jit(
        train_step,
        in_shardings=(shardings, batch_sharding(mesh), *more),
        out_shardings=(shardings, replicated(mesh)),
        donate_argnums=0,
    )


def _mean_gradient(loss: Callable[..., tuple[jax.Array, Aux]], parts: int, mesh: Mesh) -> Callable[..., Any]:
    """`value_and_grad` of the mean of `loss` over `parts` micro-batches, one in memory at a time."""

    def gradient(*inputs: Any) -> tuple[tuple[jax.Array, Aux], Any]:
        result, grads = jax.value_and_grad(loss, has_aux=True)(*inputs)
        return result, scattered(grads, mesh)

    if parts == 1:
        return gradient

    def split(array: jax.Array) -> jax.Array:
        # Every device keeps its own rows: micro-batch j takes the j-th of each group of `parts` neighbours.
        array = array.reshape(array.shape[0] // parts, parts, *array.shape[1:]).swapaxes(0, 1)
        sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, *BATCH))
        return jax.lax.with_sharding_constraint(array, sharding)

    def accumulated(params: Any, rest: Any, key: jax.Array, batch: Batch) -> Any:
        keys, micro = jax.random.split(key, parts), jax.tree.map(split, batch)

        def body(carry: tuple[Any, Any], inputs: tuple[jax.Array, Batch]) -> tuple[Any, Any]:
            total, rest = carry
            (value, aux), grads = gradient(params, rest, *inputs)
            # Each micro-batch reduces its own gradients: what is not reduced yet is whole, and so would be the sum.
            total = jax.tree.map(jnp.add, total, ((value, aux.metrics), grads))
            return (total, {**rest, **aux.updates}), None

        first = jax.tree.map(lambda a: a[0], (keys, micro))
        shapes = jax.eval_shape(gradient, params, rest, *first)
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), ((shapes[0][0], shapes[0][1].metrics), shapes[1]))
        zeros = (zeros[0], scattered(zeros[1], mesh))
        (total, rest), _ = jax.lax.scan(body, (zeros, dict(rest)), (keys, micro))
        (value, metrics), grads = jax.tree.map(lambda a: a / parts, total)
        return (value, Aux(metrics, dict(rest))), grads

    return accumulated
