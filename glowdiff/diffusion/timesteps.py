"""Which timesteps a batch is trained on, and what weights keep its loss an unbiased mean over all of them."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

HISTORY = 10  # losses kept of every timestep
GOLDEN = 0.6180339887498949  # its multiples, modulo 1, cover [0, 1) evenly however many there are
UNIFORM = 0.001  # share of the uniform distribution in the importances


class LossHistory(NamedTuple):
    """The last losses of every timestep."""

    history: jax.Array  # float32 [T, HISTORY], the oldest first
    counts: jax.Array  # int32 [T]: how many of them there are yet


def empty_history(timesteps: int) -> LossHistory:
    """The history before training."""
    return LossHistory(jnp.zeros((timesteps, HISTORY)), jnp.zeros(timesteps, jnp.int32))


def uniform(key: jax.Array, n: int, timesteps: int) -> tuple[jax.Array, jax.Array]:
    """Draw n timesteps, int32 [n], all equally likely, and their weights, 1."""
    return jax.random.randint(key, (n,), 0, timesteps), jnp.ones(n)


def probabilities(state: LossHistory) -> jax.Array:
    """How likely each timestep is drawn [T]: like sqrt(E[loss^2]) (Nichol & Dhariwal, 2021, eq. 18).

    All are equally likely until every timestep's history is full.
    """
    # Something is added so that losses that are all 0 leave a distribution too.
    importance = jnp.sqrt((state.history**2).mean(1)) + jnp.finfo(state.history.dtype).tiny
    mixed = importance / importance.sum() * (1 - UNIFORM) + UNIFORM / len(importance)
    return jnp.where((state.counts == HISTORY).all(), mixed, 1 / len(importance))


def sample(key: jax.Array, n: int, state: LossHistory) -> tuple[jax.Array, jax.Array]:
    """Draw n timesteps, int32 [n], by importance, and the weights [n] of their losses, 1 / (T probability)."""
    p = probabilities(state)
    t = jax.random.choice(key, len(p), (n,), p=p)
    return t, 1 / (len(p) * p[t])


def update(state: LossHistory, t: jax.Array, losses: jax.Array) -> LossHistory:
    """The history after the (unweighted) losses [B] of a batch at timesteps `t`, int32 [B].

    As if they had come one after another in the order of the batch: where a history is full, the oldest goes. Losses
    are moved, never added up, so the result does not depend on how the batch is sharded.
    """
    added = jnp.zeros_like(state.counts).at[t].add(1)
    dropped = jnp.maximum(state.counts + added - HISTORY, 0)
    # What stays moves to the front; whatever is behind it is overwritten below.
    source = jnp.minimum(jnp.arange(HISTORY)[None] + dropped[:, None], HISTORY - 1)
    history = jnp.take_along_axis(state.history, source, axis=1)
    earlier = jnp.tril(t[:, None] == t[None], -1).sum(1)
    slot = (state.counts - dropped)[t] + earlier
    slot = jnp.where(slot < 0, HISTORY, slot)  # dropped within the batch: out of bounds, as negative ones would wrap
    history = history.at[t, slot].set(losses.astype(history.dtype), mode="drop")
    return LossHistory(history, state.counts + added - dropped)


def spread(index: jax.Array, timesteps: int) -> jax.Array:
    """A timestep for each number [B], int32 [B]: neighbours lie far apart, and any range of numbers covers all evenly.

    For evaluations, where an image's timestep must not depend on its batch.
    """
    share = (index.astype(jnp.float32) * GOLDEN) % 1.0
    return jnp.minimum((share * timesteps).astype(jnp.int32), timesteps - 1)
