"""Timesteps by importance, against the loop that the originals run."""

import jax
import jax.numpy as jnp
import numpy as np

from glowdiff.diffusion import timesteps
from glowdiff.diffusion.timesteps import HISTORY, LossHistory

T, BATCH = 4, 32


def reference(history, counts, batch, losses):
    """One loss after another."""
    for t, loss in zip(batch, losses, strict=True):
        if counts[t] == HISTORY:
            history[t] = [*history[t, 1:], loss]
        else:
            history[t, counts[t]] = loss
            counts[t] += 1


def full(losses):
    return LossHistory(
        jnp.broadcast_to(jnp.asarray(losses)[:, None], (len(losses), HISTORY)), jnp.full(len(losses), HISTORY)
    )


def test_a_history_is_that_of_the_loop():
    """Timesteps come several times in a batch, once more often than a history is long."""
    history, counts = np.zeros((T, HISTORY), np.float32), np.zeros(T, np.int32)
    state, update = timesteps.empty_history(T), jax.jit(timesteps.update)
    generator = np.random.default_rng(0)
    for round_ in range(8):
        batch = generator.choice(T, BATCH, p=[0.05, 0.1, 0.15, 0.7]).astype(np.int32)
        losses = generator.uniform(size=BATCH).astype(np.float32)
        reference(history, counts, batch, losses)
        state = update(state, batch, losses)
        np.testing.assert_array_equal(state.counts, counts, err_msg=f"round {round_}")
        np.testing.assert_array_equal(state.history, history, err_msg=f"round {round_}")
    assert (counts == HISTORY).all()


def test_all_are_alike_until_every_history_is_full():
    state = full([1.0, 2, 3, 4])
    state = state._replace(counts=state.counts.at[2].set(HISTORY - 1))
    np.testing.assert_array_equal(timesteps.probabilities(state), 1 / T)
    _, weights = timesteps.sample(jax.random.key(0), 8, state)
    np.testing.assert_array_equal(weights, 1)


def test_timesteps_are_drawn_like_their_losses():
    losses = np.array([0.0, 1, 3, 4])
    p = np.asarray(timesteps.probabilities(full(losses)))
    np.testing.assert_allclose(p, losses / losses.sum() * 0.999 + 0.001 / T, rtol=1e-5)
    t, weights = timesteps.sample(jax.random.key(0), 100_000, full(losses))
    np.testing.assert_allclose(np.bincount(t, minlength=T) / len(t), p, atol=0.01)
    np.testing.assert_allclose(weights, 1 / (T * p[t]), rtol=1e-5)
    # Weighted, any loss keeps its mean over all timesteps.
    values = np.array([0.0, 2, 1, 5])
    np.testing.assert_allclose((values[t] * weights).mean(), values.mean(), rtol=0.01)


def test_losses_that_are_all_zero_leave_a_distribution():
    np.testing.assert_allclose(timesteps.probabilities(full([0.0] * T)), 1 / T, rtol=1e-5)


def test_uniform():
    t, weights = timesteps.uniform(jax.random.key(0), 10_000, T)
    assert t.dtype == jnp.int32
    np.testing.assert_allclose(np.bincount(t, minlength=T) / len(t), 1 / T, atol=0.02)
    np.testing.assert_array_equal(weights, 1)
