"""All that training changes, as one pytree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from glowdiff.method import Batch, Variables


class TrainState(NamedTuple):
    """What a checkpoint holds of the computation."""

    step: jax.Array  # int32: optimiser steps taken, skipped ones included
    key: jax.Array  # folded with the step, never changed
    variables: Variables
    ema: Any  # averaged params
    opt_state: optax.OptState
    skipped: jax.Array  # int32: steps skipped because something was not finite
    skipped_in_row: jax.Array  # int32: of these, those since the last good one


def create_state(
    init: Callable[..., Variables], optimizer: optax.GradientTransformation, key: jax.Array, batch: Batch
) -> TrainState:
    """The state before the first step, initialised from `batch` by a method's `init`; pure, to be jitted."""
    init_key, train_key = jax.random.split(key)
    return fresh_state(optimizer, train_key, dict(init(init_key, batch)))


def fresh_state(
    optimizer: optax.GradientTransformation, key: jax.Array, variables: Variables, ema: Any = None
) -> TrainState:
    """The state at step 0 of given variables; `ema` are their averages, the params themselves unless given."""
    zero = jnp.zeros((), jnp.int32)
    params = variables["params"]
    ema = jax.tree.map(jnp.copy, params) if ema is None else ema
    return TrainState(zero, key, variables, ema, optimizer.init(params), zero, zero)
