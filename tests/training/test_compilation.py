"""How hard the compiler tries, and what is said of a program that it has seen before."""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glowdiff.errors import ConfigError
from glowdiff.training.compilation import compiled
from glowdiff.training.loop import train
from tests import toys


def test_a_program_that_was_compiled_before_is_read():
    new, x = time.time_ns() % 10**9, jnp.arange(3)  # no run of the tests has compiled it yet
    messages = []
    for _ in range(2):
        program, message = compiled(jax.jit(lambda x: x + new).lower(x), "O0")
        np.testing.assert_array_equal(program(x), np.arange(3) + new)
        messages.append(message)
    assert messages[0].startswith("Compiled in ")
    assert messages[1].startswith("It was compiled before: read in ")


def test_an_effort_that_no_compiler_makes_is_refused(toy, tmp_path):
    with pytest.raises(ConfigError, match=r"effort is 'O4'; it must be one of O0, O1, O2, O3"):
        train(toys.toy_config(toy), tmp_path / "run", effort="O4")
    assert not (tmp_path / "run").exists()


def test_a_run_may_spare_the_compiler(toy, tmp_path):
    assert train(toys.toy_config(toy, train__steps=1), tmp_path / "run", effort="O0")["loss"] > 0
