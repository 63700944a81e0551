"""Samples that are not finite are counted and named, and drawn only for those who ask for it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import glowdiff
from glowdiff.config.options import SampleOptions
from glowdiff.data import progress
from glowdiff.errors import ConfigError
from glowdiff.inference.cascade import CascadeOptions, chain
from glowdiff.inference.drawer import Drawer
from glowdiff.method import Drawn, Draws, Method, example_keys, finite_rows
from glowdiff.trained import keep
from tests import small

KEY = jax.random.key(0)


def method(*lost: int, value: float = jnp.nan) -> Method:
    """Samples are their number, but for those that are lost."""

    def latents(key: jax.Array, n: int) -> jax.Array:
        keys, numbers = (jax.random.key_data(each)[:, 1] for each in (example_keys(key, n), example_keys(KEY, 9)))
        return (keys[:, None] == numbers[None]).argmax(1).astype(jnp.float32)

    def sample(variables: Any, key: Any, latents: jax.Array, cond: Any, options: SampleOptions) -> Drawn:
        x = jnp.where(jnp.isin(latents, jnp.array(lost or (-1,))), value, latents)[:, None, None, None]
        return Drawn(x.astype(jnp.uint8), finite_rows(x))

    return Method(lambda *_: {}, lambda *_: None, draws=Draws(latents, sample))  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="module")
def mesh(trained) -> Any:
    return glowdiff.load(trained.workdir).mesh


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("batch", [None, 2, 3])
def test_they_are_counted(mesh, value, batch):
    drawer = Drawer(method(1, 2, value=value), mesh)
    with pytest.raises(ConfigError, match=r"of [235] samples (is|are) not finite \(NaN or infinite\)") as error:
        drawer({}, KEY, 5, batch=batch)
    assert all(word in str(error.value) for word in ("Try a smaller temperature", "allow_nonfinite draws"))
    drawn = drawer({}, KEY, 5, batch=batch, allow_nonfinite=True)
    assert drawn.finite.tolist() == [True, False, False, True, True]
    assert drawn.images.ravel()[[0, 3, 4]].tolist() == [0, 3, 4]


def test_nothing_is_said_of_what_is_finite(mesh):
    drawn = Drawer(method(), mesh)({}, KEY, 4, batch=3)
    assert drawn.finite.all()
    assert drawn.images.ravel().tolist() == [0, 1, 2, 3]


def test_the_first_batch_that_holds_one_is_the_last(mesh):
    with pytest.raises(ConfigError, match="1 of 4 samples is not finite"):
        Drawer(method(3, 5), mesh)({}, KEY, 9, batch=2)


@pytest.mark.parametrize(
    ("lost", "said"),
    [(((1,), ()), "1 of 3 samples of the base is"), (((), (0, 1)), "2 of 3 samples of the upsampler are"),
     (((0,), (0, 1)), "1 of 3 samples of the base is")],
)  # fmt: skip
def test_the_stage_of_a_cascade_that_began_is_named(mesh, lost, said, monkeypatch):
    monkeypatch.setattr("glowdiff.inference.cascade.stage_keys", lambda key, n, stage: example_keys(key, n))
    drawer = Drawer(chain([method(*each) for each in lost]), mesh)
    options = CascadeOptions(upsamplers=(SampleOptions(),))
    with pytest.raises(ConfigError, match=said):
        drawer({"0": {}, "1": {}}, KEY, 3, options=options)
    drawn = drawer({"0": {}, "1": {}}, KEY, 3, options=options, allow_nonfinite=True)
    assert drawn.finite.tolist() == [i not in {*lost[0], *lost[1]} for i in range(3)]


def test_who_waits_is_told_how_far_it_is(mesh, capsys, monkeypatch):
    monkeypatch.setattr(progress, "_EVERY", -1)
    Drawer(method(), mesh)({}, KEY, 5, batch=2)
    assert capsys.readouterr().err.splitlines() == [f"drawing, in batches of 2: {done} of 3" for done in (1, 2, 3)]
    Drawer(method(), mesh)({}, KEY, 5)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "config", [small.glow_config(), small.diffusion_config(sampling__steps="2")], ids=lambda c: c.method
)
def test_a_model_of_nothing_but_nan_draws_nothing(config, tmp_path):
    model = small.untrained(config, small.DIGITS)
    nothing = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), model.variables["params"])
    keep(model.trained._replace(variables={**model.variables, "params": nothing}), tmp_path)
    model, label = glowdiff.load(tmp_path), {"label": 3} if config.method == "diffusion" else {}
    for film in ({}, {"frames": 2}) if label else ({},):
        with pytest.raises(ConfigError, match="2 of 2 samples are not finite"):
            model.draw(KEY, 2, **label, **film)
        assert not model.draw(KEY, 2, **label, **film, allow_nonfinite=True).finite.any()
    latents = model.method.draws.latents(KEY, 2)
    with pytest.raises(ConfigError, match=r"2 of 2 samples are not finite .* latents nearer to white noise"):
        model.decode(latents, **label)
    assert model.decode(latents, allow_nonfinite=True, **label).shape == (2, 8, 8, 1)
