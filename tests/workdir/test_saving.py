"""What is saved comes back, and the right steps are kept."""

from __future__ import annotations

import logging as python_logging
import pickletools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import logging

from glowdiff.workdir.checkpoint import CheckpointError, Checkpoints
from tests.workdir.states import (
    LIKE,
    assert_same,
    folder,
    make_state,
    save,
)


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
