"""`Profiler` on a program that is known, and `--profile` of the commands."""

import jax
import jax.numpy as jnp
import pytest

from glowdiff.cli.sample import main as sample
from glowdiff.cli.train import main as train
from glowdiff.errors import ConfigError
from glowdiff.profiling.profiler import Profiler
from glowdiff.profiling.span import Span, read_span
from glowdiff.training.loop import train as run
from tests import small, toys

MISTAKES = {
    "10": "--profile is '10'; it must be FROM:TO, such as 10:13",
    "": "it must be FROM:TO",
    "-1:2": "it must be FROM:TO",
    "2:2": "--profile is 2:2, which is empty; 2:3 is one step.",
    "3:1": "--profile is 3:1, backwards; perhaps 1:3?",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_what_is_no_span_is_said(text):
    with pytest.raises(ConfigError) as error:
        read_span("--profile", text)
    assert MISTAKES[text] in str(error.value)


def turned(x: jax.Array) -> jax.Array:
    """Products in a loop, which must not be counted beside what runs in it."""
    return jax.lax.fori_loop(0, 5, lambda _, y: jnp.tanh(x @ y), x)


def test_some_runs_are_traced_and_the_loop_counts_once(tmp_path):
    said = []
    x = jnp.ones((256, 256))
    compiled = jax.jit(turned).lower(x).compile()
    with Profiler(Span(1, 3), tmp_path / "profile", said.append) as profiler:
        watched = profiler.watch(compiled)
        watched(x)
        assert said == []
        for _ in range(3):
            jax.jit(jnp.sin)(watched(x))  # another program, which is none of it
    assert said[0].startswith("Profile of 2 steps: ")
    rows = [line.split() for line in said[2:-1]]
    assert not any(row[-2].startswith(("while", "sin")) for row in rows if len(row) > 4)
    assert ["5", "matrix", "products"] in [row[2:5] for row in rows]
    assert len(list((tmp_path / "profile" / "plugins" / "profile").glob("*/*.xplane.pb"))) == 1


def test_a_trace_that_is_cut_short_counts_what_there_is(tmp_path):
    said = []
    x = jnp.ones((4, 4))
    with Profiler(Span(0, 3), tmp_path, said.append) as profiler:
        profiler.watch(jax.jit(turned).lower(x).compile())(x)
    assert said[0].startswith("Profile of 1 step: ")


def test_training_traces_its_own_steps_alone(tmp_path, toy, capsys):
    run(toys.toy_config(toy), tmp_path / "run", profile=Span(1, 3))
    assert "Profile of 2 steps: " in capsys.readouterr().out
    assert len(list((tmp_path / "run" / "profile").rglob("*.xplane.pb"))) == 1


def test_training_refuses_what_lies_beyond_its_steps_before_anything_compiles(tmp_path, trained, capsys):
    line = ["--config=glow/digits:smoke", f"--workdir={tmp_path / 'run'}"]
    with small.compilations() as compiled:
        for flags in (["--profile=3:5"], ["--profile=3:5", "--dry_run"]):
            assert train([*line, *flags]) == 1
            assert capsys.readouterr().err == "error: profile is 3:5, but train.steps is 4: TO is 4 at most.\n"
        assert train([line[0], f"--workdir={trained.workdir}", "--profile=0:2", "--dry_run"]) == 1
        assert "profile is 0:2, but 4 steps are done already: FROM is 4 at least." in capsys.readouterr().err
    assert compiled == []
    assert list(tmp_path.iterdir()) == []


def test_batches_of_samples_are_traced(tmp_path, trained, capsys):
    line = [f"--workdir={trained.workdir}", "--num=6", "--batch=2", f"--out={tmp_path / 'some.npz'}"]
    assert sample([*line, "--profile=1:4"]) == 1
    assert "profile is 1:4, but 6 samples in batches of 2 make 3: TO is 3 at most." in capsys.readouterr().err
    assert sample([*line, "--profile=1:3"]) == 0
    assert "Profile of 2 batches: " in capsys.readouterr().out
    assert len(list((tmp_path / "some.profile").rglob("*.xplane.pb"))) == 1
