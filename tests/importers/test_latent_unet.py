"""The UNets of latent diffusion and Stable Diffusion compute what the originals compute, in both layouts."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glowdiff import importers
from glowdiff.errors import ConfigError
from glowdiff.importers.diffusers_names import original_names
from glowdiff.importers.latent_unet import parse
from glowdiff.importers.latent_unet import variables as variables_of
from glowdiff.importers.mapping import WeightsError
from tests.importers.golden import load_torch, released

GOLDENS = (
    "ldm_unet_uncond", "ldm_unet_class", "sd_unet_v1", "sd_unet_v1_diffusers", "sd_unet_v2", "sd_unet_v2_diffusers",
    "sd_unet_inpaint", "sd_unet_inpaint_diffusers", "sd_unet_upscaler", "sd_unet_upscaler_diffusers",
)  # fmt: skip
TOLD = {
    "in_context": "text", "in_low_res": "low_res", "in_noise_level": "noise_level", "in_mask": "hole",
    "in_masked_latents": "surroundings",
}  # fmt: skip
RELEASED = {
    name: entry
    for name, entry in released("latent/released_manifests_sd").items()
    if entry["kind"] == "LDM UNetModel" or (name.endswith("_diffusers") and "unet" in name and "gligen" not in name)
}


def told(arrays):
    """The conditions of a golden file."""
    cond = {ours: arrays[theirs] for theirs, ours in TOLD.items() if theirs in arrays}
    if "noise_level" in cond:
        cond["noise_level"] = cond["noise_level"].astype(np.int32)
    return cond


def double(tree):
    return jax.tree.map(lambda a: np.asarray(a, np.float64 if a.dtype == np.float32 else a.dtype), tree)


@pytest.mark.parametrize("name", GOLDENS)
def test_denoisers(name):
    arrays, flags, weights = load_torch(f"latent/{name}")
    module, variables = importers.latent_unet(weights, {key: flags[key] for key in flags if key != "_class_name"})
    cond = told(arrays)
    with jax.default_matmul_precision("highest"):
        y = jax.jit(module.apply)(variables, arrays["in_x"], arrays["in_t"], cond)
    np.testing.assert_allclose(y, arrays["out_y"], atol=1e-5, rtol=0)
    if "out64_y" in arrays:  # float32 would hide a wrong epsilon or GELU
        with jax.enable_x64(True):
            exact = module.clone(dtype=jnp.float64, param_dtype=jnp.float64)
            inputs = double((variables, arrays["in_x"], arrays["in64_t"], cond))
            y = np.asarray(jax.jit(exact.apply)(*inputs))
        np.testing.assert_allclose(y, arrays["out64_y"], atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", RELEASED)
def test_released_shapes(name):
    entry = RELEASED[name]
    weights = {key: np.broadcast_to(np.float32(), shape) for key, shape in entry["manifest"].items()}
    variables = variables_of(
        parse(entry["config"]), weights, lambda array: jax.ShapeDtypeStruct(array.shape, jnp.float32)
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == entry["parameters"]
    renamed = {theirs: name for name, theirs in entry.get("to_diffusers", {}).items()}
    assert original_names(renamed) == renamed


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"transformer_depth": [0, 2, 10]}, r"has transformer_depth=\[0, 2, 10\].*SDXL"),
        ({"disable_self_attentions": [True]}, None),
        ({"disable_self_attentions": [True, False]}, "disable_self_attentions of 2 levels; the network has 4"),
        ({"context_dim": None}, "context_dim=0; it must be there"),
        ({"no_such_flag": 1}, "has no_such_flag, which the original does not know"),
    ],
)
def test_flags_that_cannot_be(changed, message):
    flags = RELEASED["sd_1_unet"]["config"] | changed
    if message is None:
        assert parse(flags).network["cross_only"] == "32,16,8"
        return
    with pytest.raises(ConfigError, match=message):
        parse(flags)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"norm_eps": 1e-6}, "norm_eps=1e-06; only networks with 1e-05"),
        ({"addition_embed_type": "text_time"}, "another system than Stable Diffusion 1 or 2"),
        ({"attention_head_dim": [5, 10, 20, 10]}, "gives heads of several widths"),
        ({"down_block_types": ["AttnDownBlock2D"] * 4}, "down_block_types=AttnDownBlock2D"),
    ],
)
def test_configurations_of_diffusers_that_cannot_be(changed, message):
    with pytest.raises(ConfigError, match=message):
        parse(RELEASED["sd_2_unet_diffusers"]["config"] | changed)


def test_wrong_weights_are_named_by_their_own_names():
    _, flags, weights = load_torch("latent/sd_unet_v2_diffusers")
    missing = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"
    del weights[missing], flags["_class_name"]
    with pytest.raises(WeightsError, match=r"Missing: middle_block\.1\.transformer_blocks\.0\.attn2\.to_k\.weight"):
        importers.latent_unet(weights, flags)
