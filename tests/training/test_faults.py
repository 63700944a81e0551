"""What a user gets when numbers, files or settings are bad (the checkpoint's own faults: test_checkpoint.py)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from glowdiff.errors import ConfigError
from glowdiff.training.experiment import build
from glowdiff.training.loop import NonFiniteError, train
from glowdiff.workdir.checkpoint import CheckpointError, Checkpoints
from tests import small, toys


def test_a_step_that_is_not_finite_is_skipped_and_counted(toy, tmp_path):
    toy.fill(toys.POISON)  # one picture of 32: one step of four
    config = toys.toy_config(toy, train__steps=8, train__checkpoint_every=1, train__clip=1.0)
    train(config, tmp_path)
    lines = small.log(tmp_path)
    assert [line["step"] for line in lines] == list(range(1, 9))
    bad = [line["step"] for line in lines if line["loss"] is None]
    assert len(bad) == 2
    assert (lines[-1]["skipped"], max(line["skipped_in_row"] for line in lines)) == (2, 1)
    assert [line["skipped"] for line in lines] == [sum(step <= line["step"] for step in bad) for line in lines]


def test_a_skipped_step_changes_nothing_but_the_counters(toy, tmp_path):
    toy.fill(toys.POISON)
    config = toys.toy_config(toy, train__steps=8)
    train(config, tmp_path / "first")
    bad = [line["step"] for line in small.log(tmp_path / "first") if line["loss"] is None][-1]
    for last in (bad - 1, bad):  # once more, saving right before and after that step
        train(toys.toy_config(toy, train__steps=last), tmp_path / "run")
    before, after = (small.state_of(config, tmp_path / "run", step) for step in (bad - 1, bad))
    assert {path for path in before if before[path] != after[path]} == {"step", "skipped", "skipped_in_row"}


def test_when_no_step_is_finite_any_more_training_stops_and_says_where(toy, tmp_path):
    config = toys.toy_config(toy, model__fail_from=5, train__steps=50, train__max_skips=4)
    for _ in range(2):  # the same command again goes on from the last save, and says the same
        with pytest.raises(NonFiniteError, match=r"loss has been nan for 4 steps in a row, up to step 9") as error:
            train(config, tmp_path)
        assert "The last checkpoint stands" in str(error.value)
        assert small.steps(tmp_path) == [6, 8]
    with Checkpoints(tmp_path) as checkpoints:
        state = checkpoints.restore(8, build(config).abstract_state()._asdict()).state
    assert int(state["variables"]["state"]["good"]) == 5
    assert np.isfinite(state["variables"]["params"]["mean"]).all()


def test_a_spike_of_the_gradient_is_clipped_and_counted(toy, tmp_path):
    def moved(clip: float | None) -> tuple[list[dict], float]:
        toy.fill(toys.SPIKE)
        workdir = tmp_path / str(clip)
        config = toys.toy_config(toy, train__clip=clip, optimizer__name="adam", optimizer__b2=0.0)
        train(config, workdir)
        lines = small.log(workdir)
        with Checkpoints(workdir) as checkpoints:
            state = checkpoints.restore(4, build(config).abstract_state()._asdict()).state
        return lines, float(max(abs(x).max() for x in small.jax.tree.leaves(state["opt_state"])))

    lines, largest = moved(1e-3)
    assert [line["clipped"] for line in lines] == [int(line["grad_norm"] > 1e-3) for line in lines]
    assert max(line["grad_norm"] for line in lines) > 100
    assert largest <= 10  # the moments never saw the spike (their count is 4)
    lines, largest = moved(None)
    assert [line["clipped"] for line in lines] == [0] * 4
    assert largest > 10


def test_pictures_that_are_not_finite_are_a_warning_and_training_goes_on(toy, tmp_path, capsys):
    train(toys.toy_config(toy, model__nonfinite=3), tmp_path)
    printed = " ".join(capsys.readouterr().out.split())
    assert "Warning: after step 2, 3 of 4 samples are not finite (NaN or infinite); they are black or white" in printed
    assert {path.name for path in tmp_path.glob("samples/*")} == {"2.png", "4.png"}
    assert small.log(tmp_path)[-1]["step"] == 4


@pytest.fixture
def finished(toy, tmp_path):
    config = toys.toy_config(toy)
    train(config, tmp_path / "run")
    return config, tmp_path / "run"


def test_every_checkpoint_bad_is_an_error_and_nothing_starts_afresh(finished):
    config, workdir = finished
    log = (workdir / "metrics.jsonl").read_text()
    for manifest in workdir.glob("checkpoints/*/meta/metadata"):
        manifest.write_text(manifest.read_text()[:-20])
    with pytest.raises(CheckpointError, match=r"No checkpoint can be used(.|\n)*checkpoints/4 is damaged"):
        train(config, workdir)
    assert (workdir / "metrics.jsonl").read_text() == log


def test_a_damaged_newest_step_is_taken_again(finished, caplog):
    config, workdir = finished
    state, lines = small.state_of(config, workdir), small.log(workdir)
    (workdir / "checkpoints/4/meta/metadata").write_text("{")
    train(config, workdir)
    assert "checkpoints/4 is damaged" in caplog.text
    assert small.state_of(config, workdir) == state
    assert small.log(workdir) == lines


def test_a_workdir_of_another_configuration_names_the_keys(finished, toy):
    _, workdir = finished
    before = (workdir / "config.json").read_text()
    other = toys.toy_config(toy, train__batch=16, optimizer__learning_rate=0.5, seed=3)
    with pytest.raises(ConfigError) as error:
        train(other, workdir)
    for expected in (
        "optimizer.learning_rate was 0.001, now 0.5",
        "train.batch was 8, now 16",
        "seed was 0, now 3",
        "Use another --workdir",
    ):
        assert expected in str(error.value)
    assert "steps" not in str(error.value).split("(only")[0]
    assert (workdir / "config.json").read_text() == before


def test_what_alters_no_step_may_change_between_runs(finished, toy):
    _, workdir = finished
    changed = toys.toy_config(
        toy, train__steps=6, train__log_every=2, train__checkpoint_every=3, eval__every=3, pictures__every=0
    )
    metrics = train(changed, workdir)
    assert small.steps(workdir)[-1] == 6
    assert [line["step"] for line in small.log(workdir)] == [1, 2, 3, 4, 6]
    assert json.loads((workdir / "config.json").read_text())["config"]["train"]["steps"] == 6
    assert metrics["test_bits_per_dim"] == small.log(workdir)[-1]["test_bits_per_dim"]


def test_a_learning_rate_that_jumps_is_said_and_can_be_kept(toy, tmp_path, capsys):
    base = {"optimizer__decay": "cosine", "pictures__every": 0}
    train(toys.toy_config(toy, **base), tmp_path)
    changes = base | {"train__steps": 6, "optimizer__decay_steps": 4}
    train(toys.toy_config(toy, **changes), tmp_path)
    assert "learning rate goes" not in capsys.readouterr().out
    train(toys.toy_config(toy, **changes, optimizer__learning_rate=0.001), tmp_path)
    other = tmp_path / "other"
    train(toys.toy_config(toy, **base), other)
    train(toys.toy_config(toy, **base, train__steps=8), other)
    printed = capsys.readouterr().out
    assert "The learning rate goes from 0 to 0.0005: it decays until train.steps, which was 4 and is 8." in printed
    assert "--config.optimizer.decay_steps=4" in printed


def test_a_dry_run_refuses_what_the_run_refuses(toy, tmp_path):
    for changes, message in (
        ({"train__batch": 64}, "train.batch is 64, but the training set of arrays has only 32"),
        ({"data__shift": 9}, "data.shift is 9"),
    ):
        for dry_run in (True, False):
            with pytest.raises(ConfigError, match=message):
                train(toys.toy_config(toy, **changes), tmp_path / "run", dry_run=dry_run)


def test_other_data_under_the_same_name_are_noticed(finished, toy):
    config, workdir = finished
    np.savez(toy.path, arr_0=toy.images[:-4], levels=np.int32(17))
    with pytest.raises(ConfigError, match=r"data was 'arrays 8x8x1, 17 levels, 32 \+ .* images', now 'arrays"):
        train(config, workdir)


def test_a_finished_run_is_left_as_it_is(finished, capsys):
    config, workdir = finished
    state, lines = small.state_of(config, workdir), small.log(workdir)
    metrics = train(config, workdir)
    assert "All 4 steps are done; raise train.steps to go on." in capsys.readouterr().out
    assert metrics["test_bits_per_dim"] == lines[-1]["test_bits_per_dim"]
    assert (small.state_of(config, workdir), small.log(workdir)) == (state, lines)


def test_the_same_seed_gives_the_same_run_and_another_one_another(finished, toy, tmp_path):
    config, workdir = finished
    train(config, tmp_path / "again")
    assert small.state_of(config, tmp_path / "again") == small.state_of(config, workdir)
    assert small.log(tmp_path / "again") == small.log(workdir)
    pictures = [(folder / "samples/4.png").read_bytes() for folder in (workdir, tmp_path / "again")]
    assert pictures[0] == pictures[1]
    other = toys.toy_config(toy, seed=1)
    train(other, tmp_path / "other")
    assert small.log(tmp_path / "other") != small.log(workdir)


def test_a_dry_run_prints_the_table_and_writes_nothing(toy, tmp_path, capsys):
    assert train(toys.toy_config(toy), tmp_path / "none", dry_run=True) == {}
    assert not (tmp_path / "none").exists()
    table = capsys.readouterr().out
    for expected in ("toy (float32)", "64", "8 x 8 x 1, 17 levels", "32 to train on", "data 1 x fsdp 1", "8 images"):
        assert expected in table


def test_a_checkpoint_of_another_shape_names_the_parameter_and_both_shapes(finished, toy, tmp_path):
    _, workdir = finished
    np.savez(tmp_path / "wide.npz", arr_0=np.repeat(toy.images, 2, 2), levels=np.int32(17))
    wide = toys.toy_config(toy, data__path=str(tmp_path / "wide.npz"))
    shutil.copytree(workdir / "checkpoints", tmp_path / "wide/checkpoints")
    with pytest.raises(CheckpointError, match=r"params.*mean") as error:
        train(wide, tmp_path / "wide")
    assert "(8, 8, 1)" in str(error.value)
    assert "(8, 16, 1)" in str(error.value)
    assert Path(tmp_path / "wide/checkpoints/4").exists()
