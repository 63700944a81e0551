"""A denoiser that reads captions as Stable Diffusion does: by a text encoder that is frozen, or trained along."""

from __future__ import annotations

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import glowdiff
from glowdiff.errors import ConfigError
from glowdiff.method import batch_shapes
from glowdiff.trained import restore
from tests import small


@pytest.fixture(scope="module")
def workdirs():
    """Of a text encoder, and of a denoiser that it serves."""

    def make(folder):
        text = small.untrained_workdir(folder / "text", small.encoder_config(), small.COLOURS)
        small.untrained_workdir(folder / "frozen", small.sd_config(model__text__workdir=str(text)), small.COLOURS)

    folder = small.once("latent_text", make)
    return folder / "text", folder / "frozen"


def batch_of(model):
    rng = np.random.default_rng(0)
    shapes = batch_shapes(model.spec, 4, model.method.takes)
    batch = jax.tree.map(lambda leaf: rng.integers(0, 200, leaf.shape).astype(leaf.dtype), shapes)
    batch["cond"]["mask"] = np.arange(32)[None] < np.array([[5], [9], [32], [0]])
    return batch


def test_it_is_the_same_function_frozen_and_trained_along(workdirs):
    text, frozen = (restore(workdir) for workdir in workdirs)
    along = small.untrained(small.sd_config(), small.COLOURS)
    assert "text_encoder" not in frozen.variables["params"]
    params = {**frozen.variables["params"], "text_encoder": text.variables["params"]}
    batch = batch_of(frozen)

    def loss(method, params, variables):
        value, _ = method.loss({**variables, "params": params}, jax.random.key(0), batch)
        return value

    both = jax.jit(jax.value_and_grad(lambda p: loss(along.method, p, {})))(params)
    own = {name: value for name, value in params.items() if name != "text_encoder"}
    rest = {"frozen": frozen.variables["frozen"]}
    one = jax.jit(jax.value_and_grad(lambda p: loss(frozen.method, p, rest)))(own)
    np.testing.assert_allclose(one[0], both[0], rtol=1e-6)
    assert jax.tree.structure(one[1]) == jax.tree.structure(own)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), one[1], {k: both[1][k] for k in own})
    assert all(np.any(leaf) for leaf in jax.tree.leaves(both[1]["text_encoder"]["transformer"]["blocks"]["mlp_in"]))


def test_without_a_prompt_it_reads_an_empty_one(workdirs, tmp_path):
    moved = shutil.copytree(workdirs[1], tmp_path / "moved")
    model = glowdiff.load(moved)
    key = jax.random.key(0)
    guided, plain = (model.sample(key, 2, prompt="", guidance_scale=scale) for scale in (9.0, 1.0))
    np.testing.assert_array_equal(guided, plain)  # what is guided away from is what it is told
    red, weakly = (model.sample(key, 2, prompt="a red heart", guidance_scale=scale) for scale in (9.0, 1.0))
    assert (red != weakly).mean() > 0.1
    # Not zeros: those are another context.
    assert model.method.text is None
    encode = restore(workdirs[0]).method.text
    said = encode(model.variables["frozen"]["text"], jnp.zeros((1, 32), jnp.int32), jnp.zeros((1, 32), bool))
    assert float(jnp.abs(said["text"]).min()) > 0


def test_long_prompts_are_refused_or_read_in_chunks(workdirs):
    model, key = glowdiff.load(workdirs[1]), jax.random.key(0)
    long = "a red heart and a blue circle and the flag of Japan and a waving hand: dark skin tone and more"
    with pytest.raises(ConfigError, match=r"would be lost: .*read in chunks: long_prompts"):
        model.sample(key, 1, prompt=long)
    drawn = model.sample(key, 2, prompt=long, negative_prompt="a blue circle", long_prompts=True)
    assert drawn.shape == (2, 8, 8, 3)
    short = model.sample(key, 2, prompt="a red heart", long_prompts=True)
    np.testing.assert_array_equal(short, model.sample(key, 2, prompt="a red heart"))
    glide = small.untrained(small.text_config(), small.COLOURS, model.tokenizer)
    with pytest.raises(ConfigError, match="long_prompts is on, but this model reads one context"):
        glide.sample(key, 1, prompt="a red heart", long_prompts=True)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model__text__width": 32}, r"model\.text\.width is 32, but that of the text encoder in .* is 16"),
        ({"model__text__vocab_size": 400}, r"model\.text\.vocab_size is 400"),
        ({"model__text__context": 16}, r"model\.text\.context is 16"),
        ({"model__text__workdir": "nowhere"}, "nowhere is not a workdir"),
        ({"model__network__name": "adm"}, r"reads captions by model\.text\.name=glide"),
        ({"model__class_conditional": True}, r"model\.network\.label_width is 512, but .* model\.text\.width is 16"),
    ],
)
def test_what_does_not_fit_is_refused(workdirs, changed, message):
    spec = dataclasses.replace(small.COLOURS, classes=("a", "b"))
    with pytest.raises(ConfigError, match=message):
        small.untrained(small.sd_config(**{"model__text__workdir": str(workdirs[0])} | changed), spec)


def test_a_denoiser_is_no_text_encoder(workdirs):
    with pytest.raises(ConfigError, match="holds another model than a text encoder"):
        small.untrained(small.sd_config(model__text__workdir=str(workdirs[1])), small.COLOURS)
