"""Another configuration is not damage; and a part of a state is read without the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from glowdiff.workdir.checkpoint import CheckpointError, Checkpoints
from tests.workdir.states import (
    LIKE,
    assert_same,
    contents,
    flip_a_value,
    folder,
    largest,
    make_state,
    truncate,
)


def changed(path: str, leaf: Any) -> dict[str, Any]:
    like = jax.tree.map(lambda x: x, LIKE)
    *parents, name = path.split("/")
    node = like
    for parent in parents:
        node = node[parent]
    if leaf is None:
        del node[name]
    else:
        node[name] = leaf
    return like


MISMATCHES = [
    (
        changed("ema/conv/kernel", jax.ShapeDtypeStruct((4, 8), jnp.float32)),
        r"ema/conv/kernel has shape \(4, 6\) in the checkpoint, but \(4, 8\) here",
    ),
    (
        changed("ema/conv/bias", jax.ShapeDtypeStruct((3,), jnp.float32)),
        "ema/conv/bias is bfloat16 in the checkpoint, but float32 here",
    ),
    (changed("key", jax.eval_shape(lambda: jax.random.key(0, impl="rbg"))), r"key is key<fry> in .* key<rbg> here"),
    (changed("variables/extra", jax.ShapeDtypeStruct((1,), jnp.float32)), "variables/extra is not in the checkpoint"),
    (changed("variables/buffers/mask", None), "variables/buffers/mask is in the checkpoint, but not here"),
]


@pytest.mark.parametrize(("like", "message"), MISMATCHES)
def test_another_tree_is_named_and_nothing_moved(workdir: Path, like: Any, message: str):
    before = contents(folder(workdir, 2))
    with Checkpoints(workdir) as checkpoints:
        for restore in (checkpoints.restore_latest, lambda like: checkpoints.restore(2, like)):
            with pytest.raises(CheckpointError, match=message) as error:
                restore(like)
            assert str(folder(workdir, 2)) in str(error.value)
        assert checkpoints.steps() == [1, 2]
    assert contents(folder(workdir, 2)) == before


def test_many_differences_are_cut_short(workdir: Path):
    with Checkpoints(workdir) as checkpoints, pytest.raises(CheckpointError, match=r"and 4 more$"):
        checkpoints.restore(2, {})


def test_a_part_is_read_without_the_rest(workdir: Path):
    part = {"ema": LIKE["ema"], "variables": LIKE["variables"]}
    with Checkpoints(workdir) as checkpoints:
        restored = checkpoints.restore_part(part)
        assert (restored.step, restored.data) == (2, {"next_index": 14})
        assert_same(restored.state, {name: make_state(2)[name] for name in part})
        assert_same(checkpoints.restore_part({"key": LIKE["key"]}, step=1).state, {"key": make_state(1)["key"]})
        with pytest.raises(CheckpointError, match="ema/other is not in the checkpoint"):
            checkpoints.restore_part({"ema": {"other": LIKE["step"]}})
        # The bits of other leaves do not matter, for they are not read.
        flip_a_value(folder(workdir, 2))
        assert checkpoints.restore_part({"variables": part["variables"]}).step == 2
        assert checkpoints.restore_part(part).step == 1


def test_reading_leaves_no_trace(workdir: Path):
    truncate(largest(folder(workdir, 2)))
    folder(workdir, "3.orbax-checkpoint-tmp").mkdir()  # another process is saving step 3
    before = contents(workdir)
    folders = [path for path in [workdir, *workdir.rglob("*")] if path.is_dir()]
    for path in folders:
        path.chmod(0o555)
    try:
        with Checkpoints(workdir) as checkpoints:
            assert checkpoints.restore_part({"ema": LIKE["ema"]}).step == 1
            assert checkpoints.restore(1, LIKE).step == 1
            assert checkpoints.steps() == [1, 2]
            assert checkpoints.best_step() == 2
            with pytest.raises(CheckpointError):
                checkpoints.restore(2, LIKE)
    finally:
        for path in folders:
            path.chmod(0o755)
    assert contents(workdir) == before
