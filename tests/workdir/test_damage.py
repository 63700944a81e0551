"""Damaged steps are named, moved aside and passed over; nothing ever starts afresh in silence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from glowdiff.workdir.checkpoint import CheckpointError, Checkpoints
from tests.workdir.states import (
    LIKE,
    assert_same,
    flip,
    flip_a_value,
    folder,
    largest,
    make_state,
    names,
    save,
    truncate,
)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def rename_a_leaf(step: Path) -> None:
    path = step / "state" / "_METADATA"
    metadata = json.loads(path.read_text())
    metadata["tree_metadata"]["('ema', 'conv', 'bias')"]["key_metadata"][2]["key"] = "bia"
    path.write_text(json.dumps(metadata))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "truncated data": lambda step: truncate(largest(step)),
    "deleted data": lambda step: largest(step).unlink(),
    "flipped bit in a file": lambda step: flip(largest(step), largest(step).stat().st_size // 3),
    "flipped bit in a value": flip_a_value,
    "deleted index of arrays": lambda step: (step / "state" / "manifest.ocdbt").unlink(),
    "garbled metadata": lambda step: (step / "state" / "_METADATA").write_bytes(b"\xff\xfe{"),
    "leaf renamed in metadata": rename_a_leaf,
    "missing item": lambda step: shutil.rmtree(step / "state"),
    "missing manifest": lambda step: shutil.rmtree(step / "meta"),
    "empty manifest": lambda step: (step / "meta" / "metadata").write_text(""),
    "another manifest": lambda step: (step / "meta" / "metadata").write_text("[]"),
    "metric changed": lambda step: edit(
        step / "meta" / "metadata", '"test_bits_per_dim": 0.5', '"test_bits_per_dim": 0.1'
    ),
    "position changed": lambda step: edit(step / "data" / "metadata", "14", "15"),
    "truncated position": lambda step: (step / "data" / "metadata").write_text('{"next_'),
    "everything deleted": lambda step: [shutil.rmtree(p) for p in step.iterdir() if p.is_dir()],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_step_is_named_and_the_one_before_used(workdir: Path, damage: str, caplog: pytest.LogCaptureFixture):
    DAMAGE[damage](folder(workdir, 2))
    with Checkpoints(workdir) as checkpoints:
        with pytest.raises(CheckpointError, match=r"checkpoints/2 is damaged: .+"):
            checkpoints.restore(2, LIKE)
        assert checkpoints.steps() == [1, 2]
        restored = checkpoints.restore_latest(LIKE)
        assert restored is not None
        assert (restored.step, restored.data) == (1, {"next_index": 7})
        assert_same(restored.state, make_state(1))
        assert f"{folder(workdir, 2)} is damaged: " in caplog.text
        assert f"to {folder(workdir, 'damaged-2')}" in caplog.text
        assert checkpoints.steps() == [1]
        assert folder(workdir, "damaged-2").is_dir()
        # Out of Orbax's way: the step is reached, and saved, again.
        checkpoints.save(2, make_state(2), {"next_index": 14}, {"test_bits_per_dim": 0.5})
        checkpoints.wait()
        assert checkpoints.steps() == [1, 2]
        assert checkpoints.best_step() == 2
    with Checkpoints(workdir) as checkpoints:
        again = checkpoints.restore_latest(LIKE)
        assert again is not None
        assert again.step == 2
        assert_same(again.state, make_state(2))


def test_a_flipped_value_is_found_by_its_checksum(workdir: Path):
    flip_a_value(folder(workdir, 2))
    with Checkpoints(workdir) as checkpoints:
        with pytest.raises(CheckpointError, match=r"the checksum of ema/conv/kernel differs"):
            checkpoints.restore(2, LIKE)
        with pytest.raises(CheckpointError, match=r"the checksum of ema/conv/kernel differs"):
            checkpoints.restore_part({"ema": LIKE["ema"]}, step=2)


def test_a_step_damaged_twice_keeps_both_copies(workdir: Path):
    for _ in range(2):
        truncate(largest(folder(workdir, 2)))
        with Checkpoints(workdir) as checkpoints:
            assert checkpoints.restore_latest(LIKE).step == 1  # pyright: ignore
            checkpoints.save(2, make_state(2), {}, {})
    assert folder(workdir, "damaged-2").is_dir()
    assert folder(workdir, "damaged-2.1").is_dir()


def test_a_damaged_best_step_does_not_stop_saving(workdir: Path):
    (folder(workdir, 2) / "meta" / "metadata").write_text("{")
    save(workdir, 3, 4)
    with Checkpoints(workdir) as checkpoints:
        assert checkpoints.steps() == [3, 4]


def test_when_every_step_is_damaged_nothing_starts_afresh(workdir: Path):
    flip_a_value(folder(workdir, 1))
    truncate(largest(folder(workdir, 2)))
    before = names(workdir)
    for _ in range(2):  # and not the next time either
        with Checkpoints(workdir) as checkpoints:
            with pytest.raises(CheckpointError) as error:
                checkpoints.restore_latest(LIKE)
            assert f"{folder(workdir, 1)} is damaged: the checksum of ema/conv/kernel differs" in str(error.value)
            assert f"{folder(workdir, 2)} is damaged: " in str(error.value)
            with pytest.raises(CheckpointError, match="No checkpoint can be used"):
                checkpoints.restore_part({"ema": LIKE["ema"]})
        assert names(workdir) == before


def test_a_folder_of_only_damaged_steps_does_not_start_afresh(workdir: Path):
    truncate(largest(folder(workdir, 2)))
    with Checkpoints(workdir) as checkpoints:
        checkpoints.restore_latest(LIKE)
    shutil.rmtree(folder(workdir, 1))
    with Checkpoints(workdir) as checkpoints, pytest.raises(CheckpointError, match="holds only damaged checkpoints"):
        checkpoints.restore_latest(LIKE)
