"""Training on from another workdir's weights: with other pictures, and as an inpainting model."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import glowdiff
from glowdiff.catalog.parse import parse
from glowdiff.config.sections import Config
from glowdiff.errors import ConfigError
from glowdiff.trained import Trained
from glowdiff.training.experiment import build
from glowdiff.training.fine_tune import start_from
from glowdiff.training.loop import train
from glowdiff.training.state import fresh_state
from tests import small, toys

SIDE = 8
COLOURS = {"red": (220, 40, 40), "green": (40, 170, 60), "blue": (40, 70, 220), "yellow": (240, 210, 40)}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten captioned pictures, as a person would keep them."""
    folder = tmp_path_factory.mktemp("pictures")
    names = [f"a {colour} {shape}" for shape in ("square", "stripe", "dot") for colour in COLOURS][:10]
    for number, name in enumerate(names):
        pixels = np.full((24, 24, 3), 255, np.uint8)
        pixels[4:20, 4 : 8 + number] = COLOURS[name.split()[1]]
        Image.fromarray(pixels).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"{name}\n")
    return folder


def text_config(pictures: Path, **changes: Any) -> Config:
    usual = {
        "data__name": "folder", "data__path": str(pictures), "data__size": SIDE, "train__steps": 2, "train__batch": 4,
        "eval__every": 0, "eval__batch": 4, "eval__images": 4, "pictures__every": 0,
    }  # fmt: skip
    return small.text_config(**(usual | changes))


@pytest.fixture(scope="module")
def base(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("base")
    train(text_config(pictures), workdir)
    return workdir


def configuration(mode: str) -> Any:
    """`--config=configs/finetune.py:MODE`."""
    spec = importlib.util.spec_from_file_location("finetune", small.ROOT / "configs" / "finetune.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(mode)


def finetune(base: Path, pictures: Path) -> Any:
    """What the documented command reads: configs/finetune.py:WORKDIR, and the folder."""
    settings = configuration(str(base))
    settings.data.path = str(pictures)
    return settings


def test_ten_captioned_pictures_go_on_from_a_workdir(base, pictures, tmp_path):
    settings = finetune(base, pictures)
    settings.train.update(steps=1)
    settings.pictures.images = 2
    config = parse(settings)
    assert (config.model, config.data.size) == (glowdiff.load(base).config.model, SIDE)
    metrics = train(config, tmp_path)
    assert np.isfinite(metrics["test_loss"])
    assert (tmp_path / "tokenizer.json").read_text() == (base / "tokenizer.json").read_text()
    before, after = glowdiff.load(base), glowdiff.load(tmp_path, ema=False)
    furthest = jax.tree.map(lambda a, b: float(abs(a - b).max()), before.variables["params"], after.variables["params"])
    assert 0 < max(jax.tree.leaves(furthest)) < 1e-3  # one step of the base's own weights
    assert after.sample(jax.random.key(0), 2, prompt=["a red dot", "a blue stripe"]).shape == (2, SIDE, SIDE, 3)


def test_the_workdir_to_start_from_must_be_named(pictures):
    with pytest.raises(ConfigError, match=r"--config=configs/finetune.py:WORKDIR"):
        configuration("")
    with pytest.raises(ConfigError, match="is not a workdir of glowdiff"):
        configuration(str(pictures))


def test_an_inpainting_model_starts_as_the_same_function(base, pictures, tmp_path):
    config = text_config(pictures, model__inpaint=True, train__init_from=str(base))
    train(config, tmp_path)
    experiment = build(config, tmp_path)
    assert [(each.name, each.channels) for each in experiment.method.takes if each.channels] == [
        ("known", 3),
        ("known_mask", 1),
    ]
    state = start_from(experiment.initial_state(), experiment, str(base))
    old = glowdiff.load(base)
    kernel = state.variables["params"]["input_blocks_0"]["kernel"]
    np.testing.assert_array_equal(kernel[:, :, :3], old.variables["params"]["input_blocks_0"]["kernel"])
    assert not kernel[:, :, 3:].any()
    jax.tree.map(np.testing.assert_array_equal, state.ema, state.variables["params"])
    new = glowdiff.Model(Trained(experiment.method, state.variables, config, old.spec, old.mesh, 0, old.tokenizer))
    drawn = [model.sample(jax.random.key(0), 2, prompt="a red dot") for model in (old, new)]
    np.testing.assert_array_equal(*drawn)


def test_a_resumed_run_goes_on_and_does_not_start_again(toy, tmp_path):
    base = tmp_path / "base"
    train(toys.toy_config(toy, train__steps=2, seed=1), base)
    whole, parts = (toys.toy_config(toy, train__init_from=str(base), train__steps=steps) for steps in (2, 1))
    train(whole, tmp_path / "whole")
    train(parts, tmp_path / "parts")
    shutil.rmtree(base)  # what goes on needs it no more
    train(whole, tmp_path / "parts")
    assert small.state_of(whole, tmp_path / "whole", 2) == small.state_of(whole, tmp_path / "parts", 2)


def test_a_classifier_starts_from_another(tmp_path):
    config = small.classifier_config()
    experiment = build(config)
    small.untrained_workdir(tmp_path, config, experiment.dataset.spec)
    wanted = glowdiff.load(tmp_path).variables
    nothing = fresh_state(experiment.optimizer, jax.random.key(0), jax.tree.map(jnp.zeros_like, wanted))
    state = start_from(nothing, experiment, str(tmp_path))
    jax.tree.map(np.testing.assert_array_equal, state.variables["params"], wanted["params"])


def test_a_model_of_another_shape_is_refused(base, pictures, tmp_path):
    wider = text_config(pictures, model__text__width=32, train__init_from=str(base))
    with pytest.raises(ConfigError, match=r"whose model is another one: \d+ weights do not fit, such as .*32"):
        train(wider, tmp_path / "wider")
    nowhere = text_config(pictures, train__init_from=str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"train.init_from: .*nowhere is not a workdir"):
        train(nowhere, tmp_path / "new")


def test_a_table_smaller_than_the_tokenizer_is_refused(base, pictures, tmp_path):
    with pytest.raises(ConfigError, match=r"tokenizer has \d+ entries, but model.text.vocab_size is 270"):
        build(text_config(pictures, model__text__vocab_size=270, train__init_from=str(base)))
