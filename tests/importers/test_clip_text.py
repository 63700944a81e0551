"""CLIP's text encoders say what the originals say, in both layouts."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glowdiff import importers
from glowdiff.errors import ConfigError
from glowdiff.importers.clip_text import parse, recognised
from glowdiff.importers.clip_text import variables as variables_of
from glowdiff.importers.mapping import WeightsError
from tests.importers.golden import load_torch, released

# Of each golden file: clip skip, and what comes out.
SAID = {
    "sd_text_clip": ((1, "last"), (2, "penultimate")),
    "sd_text_openclip_diffusers": ((1, "last"), (2, "penultimate")),
    "sd_text_openclip": ((1, "penultimate"),),
}
RELEASED = {name: entry for name, entry in released("latent/released_manifests_sd").items() if "_text" in name}
RELEASED = {name: entry for name, entry in RELEASED.items() if "text" in entry["kind"].lower()}


@pytest.mark.parametrize("name", SAID)
def test_encoders(name):
    arrays, flags, weights = load_torch(f"latent/{name}")
    flags = {key: value for key, value in flags.items() if key != "_class_name"}
    tokens = arrays["in_tokens"].astype(np.int32)
    whole = np.ones(tokens.shape, bool)
    for skip, key in SAID[name]:
        module, variables = importers.clip_text(weights, flags, skip)
        with jax.default_matmul_precision("highest"):
            text = jax.jit(module.apply)(variables, tokens, whole)["text"]
        np.testing.assert_allclose(text, arrays[f"out_{key}"], atol=3e-6, rtol=0)
        if f"out64_{key}" in arrays:
            with jax.enable_x64(True):
                exact = module.clone(dtype=jnp.float64, param_dtype=jnp.float64)
                doubles = jax.tree.map(lambda a: np.asarray(a, np.float64), variables)
                text = np.asarray(jax.jit(exact.apply)(doubles, tokens, whole)["text"])
            np.testing.assert_allclose(text, arrays[f"out64_{key}"], atol=1e-9, rtol=0)


def test_captions_are_framed_and_padded_as_the_originals_do():
    arrays, _, _ = load_torch("latent/sd_tokens")
    for name, activation in (("sd1", "quick_gelu"), ("sd2", "gelu")):
        tokens = arrays[f"out_tokens_{name}"].astype(np.int32)
        section = parse({"hidden_act": activation, "num_hidden_layers": 1})
        module = section.encoder(None, remat=False, dtype=jnp.float32, param_dtype=jnp.float32)
        length = tokens.argmax(1) + 1  # the end token is the largest
        mask = np.arange(77)[None] < length[:, None]
        ours = np.where(mask, tokens, 0)  # as our tokenizer pads
        mask[0], ours[0] = False, 7  # no prompt at all is "", the first one
        assert length[0] == 2
        np.testing.assert_array_equal(module.padded(jnp.asarray(ours), jnp.asarray(mask)), tokens)


def test_long_prompts_are_read_in_chunks():
    arrays, flags, weights = load_torch("latent/sd_text_clip")
    module, variables = importers.clip_text(weights, {k: v for k, v in flags.items() if k != "_class_name"})
    tokens = arrays["in_tokens"].astype(np.int32)
    apply = jax.jit(partial(module.apply, variables))
    alone = apply(tokens, tokens >= 0)["text"]
    pairs = tokens[np.array([[0, 1], [2, 0]])].reshape(2, -1)
    together = apply(pairs, pairs >= 0)["text"]
    np.testing.assert_allclose(together.reshape(2, 2, *alone.shape[1:])[1], alone[np.array([2, 0])], atol=1e-6)
    with pytest.raises(ValueError, match="several times as long"):
        module.apply(variables, tokens[:, :5], tokens[:, :5] > 0)


@pytest.mark.parametrize("name", RELEASED)
def test_released_shapes(name):
    entry = RELEASED[name]
    shapes = {key: tuple(shape) for key, shape in entry["manifest"].items()}
    section = parse(entry["config"])
    assert recognised(shapes) == section
    weights = {key: np.broadcast_to(np.int8(), shape).astype(np.float16) for key, shape in shapes.items()}
    variables = variables_of(section, weights, lambda array: jax.ShapeDtypeStruct(array.shape, jnp.float32))
    count = sum(leaf.size for leaf in jax.tree.leaves(variables))
    unused = sum(
        np.prod(shape, dtype=int) for key, shape in shapes.items() if key in ("logit_scale", "text_projection")
    )
    last = [shape for key, shape in shapes.items() if key.startswith("transformer.resblocks.23.")]
    assert count == entry["parameters"] - unused - sum(np.prod(shape, dtype=int) for shape in last)


def test_what_is_no_such_encoder():
    with pytest.raises(WeightsError, match="not the weights of CLIP's text encoder"):
        recognised({"conv_in.weight": (3, 3)})
    with pytest.raises(ConfigError, match=r"--clip_skip is 13; it must be from 1 .* to 12"):
        parse({}, 13)
    with pytest.raises(ConfigError, match="only MLPs four times as wide"):
        parse({"intermediate_size": 3})
