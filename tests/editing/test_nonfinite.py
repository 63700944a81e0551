"""Pictures of what is not finite: an error, and drawn only with --allow_nonfinite."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glowdiff.cli import edit, sample
from glowdiff.editing import commands
from glowdiff.errors import ConfigError
from glowdiff.trained import keep
from tests.cli.typed import typed


@pytest.fixture(scope="module")
def diverged(digits, tmp_path_factory) -> Path:
    """The workdir of a flow whose parameters are NaN."""
    folder = tmp_path_factory.mktemp("diverged") / "run"
    nothing = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), digits.variables["params"])
    keep(digits.trained._replace(variables={**digits.variables, "params": nothing}), folder)
    return folder


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sample --num=3", "3 of 3 samples are not finite"),
        ("temperature --count=2 --temperatures=0:1:2", "2 of 2 samples are not finite"),
        ("interpolate --count=1 --steps=2", "1 of 1 samples is not finite"),
        ("reconstruct --count=2", "overflows, so there is no reconstruction to show"),
    ],
)
def test_it_is_refused_unless_it_is_allowed(diverged, tmp_path, line, message):
    command, *words = line.split()
    main, words = (sample.main, words) if command == "sample" else (edit.main, [command, *words])
    places = [f"--workdir={diverged}", f"--out={tmp_path}/a.png"]
    assert message in typed(main, *words, *places).error
    assert not (tmp_path / "a.png").exists()
    result = typed(main, *words, *places, "--allow_nonfinite")
    assert result.code == 0, result.err
    assert (tmp_path / "a.png").exists()
    assert command != "sample" or "; 3 of 3 samples are not finite" in result.out


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38, -1001, "1", None])
def test_scripts_pass_numbers_too(people, value):
    with pytest.raises(ConfigError, match="a temperature is "):
        commands.temperature(people.model, 1, [0.5, value])
    with pytest.raises(ConfigError, match="seed is "):
        commands.temperature(people.model, 1, [0.5], seed=value if value != -1001 else 2**32)
    with pytest.raises(ConfigError, match="label "):
        commands.temperature(people.model, 1, [0.5], label=np.array([3.7]) if value is None else value)
    with pytest.raises(ConfigError, match="it must be a model, such as glowdiff"):
        commands.temperature("runs/x", 1, [0.5])
