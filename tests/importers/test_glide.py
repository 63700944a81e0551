"""The published GLIDE networks, through our importer and our modules, compute what the original computes."""

from __future__ import annotations

import re
from functools import partial

import jax
import numpy as np
import pytest

from glowdiff import importers
from glowdiff.errors import ConfigError
from glowdiff.importers.glide import GLIDE, parse
from glowdiff.importers.mapping import WeightsError
from tests.importers.golden import check, load_torch, released

GOLDENS = ("glide_text2im", "glide_superres", "glide_inpaint", "glide_superres_inpaint")
RELEASED = ("glide_base", "glide_upsample", "glide_base_inpaint", "glide_upsample_inpaint")
NAMES = {"in_low_res": "low_res", "in_inpaint_image": "known", "in_inpaint_mask": "known_mask"}


@pytest.fixture(autouse=True)
def _precision():
    with jax.default_matmul_precision("highest"):
        yield


@pytest.mark.parametrize("name", GOLDENS)
def test_denoisers(name):
    arrays, flags, weights = load_torch(name)
    module, variables = importers.glide(weights, flags)
    encode = jax.jit(partial(module.apply, method="encode_text"))
    text = encode(variables, arrays["in_tokens"].astype(np.int32), arrays["in_mask"])
    assert isinstance(text, dict)
    np.testing.assert_allclose(text["text_emb"], arrays["out_xf_proj"], atol=1e-5, rtol=0)
    np.testing.assert_allclose(text["text"], np.moveaxis(arrays["out_xf_out"], 1, 2), atol=1e-5, rtol=0)
    seen = {ours: arrays[theirs] for theirs, ours in NAMES.items() if theirs in arrays}
    captions = {"tokens": arrays["in_tokens"].astype(np.int32), "mask": arrays["in_mask"]}
    apply = jax.jit(module.apply)
    for cond in (captions, text):
        y = apply(variables, arrays["in_x"], arrays["in_t"], {**seen, **cond})
        np.testing.assert_allclose(y, arrays["out_y"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", RELEASED)
def test_released_shapes(name):
    entry = released()[name]
    shapes = {key: tuple(shape) for key, shape in entry["manifest"].items()}
    module, variables = check(GLIDE, entry["flags"], weights=shapes)
    assert module.vocab == entry["n_vocab"]
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == entry["parameters"]
    channels = 3 + sum(channels for _, channels in module.beside)
    assert channels == shapes["input_blocks.0.0.weight"][1] == 3 + 3 * ("upsample" in name) + 4 * ("inpaint" in name)


def test_constructors_and_options_say_the_same():
    options = parse(released()["glide_upsample_inpaint"]["flags"])
    constructor = parse(
        {
            "model": "SuperResInpaintText2ImUnet", "image_size": 256, "in_channels": 3, "model_channels": 192,
            "out_channels": 6, "num_res_blocks": 2, "attention_resolutions": [8, 16, 32], "dropout": 0.1,
            "channel_mult": [1, 1, 2, 2, 4, 4], "num_heads": 1, "num_head_channels": 64, "use_scale_shift_norm": True,
            "resblock_updown": True, "noise_schedule": "linear",
        }
    )  # fmt: skip
    assert constructor == options
    assert options.small_size == 64


def test_what_flags_leave_out_is_as_published():
    assert parse({}) == parse(released()["glide_base"]["flags"])
    assert parse({"super_res": "True"}) == parse(released()["glide_upsample"]["flags"])
    assert parse({"super_res": True, "image_size": 128, "small_size": 64}).small_size == 64


def test_wrong_weights_are_named():
    _, flags, weights = load_torch("glide_text2im")
    shapes = {key: weight.shape for key, weight in weights.items()}
    last = flags["xf_layers"] - 1
    short = {key: shape for key, shape in shapes.items() if key != f"transformer.resblocks.{last}.ln_2.bias"}
    with pytest.raises(WeightsError, match=rf"Missing: transformer\.resblocks\.{last}\.ln_2\.bias"):
        check(GLIDE, flags, weights=short)
    with pytest.raises(WeightsError, match=rf"Not expected: transformer\.resblocks\.{last}"):
        check(GLIDE, flags | {"xf_layers": last}, weights=shapes)
    channels, seen, *sides = shapes["input_blocks.0.0.weight"]
    wrong, right = (re.escape(str((*sides, n, channels))) for n in (seen, seen + 4))
    with pytest.raises(WeightsError, match=rf"input_blocks\.0\.0\.weight: .*{wrong}, .* ask for {right}"):
        check(GLIDE, flags | {"model": "InpaintText2ImUNet"}, weights=shapes)
    rows, width = shapes["token_embedding.weight"]
    wrong, right = (re.escape(str((n, width))) for n in (rows, 50257))
    with pytest.raises(WeightsError, match=rf"token_embedding\.weight: {wrong}, where the flags ask for {right}"):
        check(GLIDE, {name: value for name, value in flags.items() if name != "n_vocab"}, weights=shapes)
    bias = "transformer.resblocks.0.attn.c_qkv.bias"
    wrong = (shapes[bias][0] - 1,)
    with pytest.raises(WeightsError, match=rf"Shapes that no flags ask for: .*{re.escape(f'{bias}: {wrong}')}"):
        check(GLIDE, flags, weights=shapes | {bias: wrong})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"xf_layer": 2}, "has xf_layer, .*Did you mean xf_layers"),
        ({"class_cond": True}, "has class_cond, which the original does not know"),
        ({"xf_padding": False}, "xf_padding=False; text is read here as by the published models"),
        ({"xf_heads": 3}, "xf_heads=3, which does not divide xf_width=512"),
        ({"text_ctx": 0}, "text_ctx=0; it must be there and at least 1"),
        ({"image_size": 32}, "image_size=32, for which the originals have no channel_mult.*64, 128, 256"),
        ({"model_channels": 32, "model": "UNetModel"}, "model is 'UNetModel'; it must be one of Text2ImUNet"),
        ({"model_channels": 32}, "image_size=0; it must be there"),
        ({"num_channels": 48}, "cannot be: model.network.channels is 48"),
    ],
)
def test_wrong_flags_are_named(values, message):
    with pytest.raises(ConfigError, match=message):
        parse(values)
