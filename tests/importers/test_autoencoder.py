"""First stages of latent diffusion, through our importer and our module, compute what the originals compute."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glowdiff.autoencoders.build import coder
from glowdiff.errors import ConfigError
from glowdiff.importers.autoencoder import PREFIX, FirstStage, variables
from glowdiff.importers.mapping import WeightsError
from glowdiff.networks.bottleneck import codebook_loss, deviation, gaussian, kl_to_normal, nearest
from tests.importers.golden import load_torch, released

RELEASED = {
    name: release
    for name, release in released("latent/released_manifests_sd").items()
    if "AutoencoderKL" in release["kind"] or "VQModel" in release["kind"]
}


def both_ways(stage: FirstStage, params: Any, arrays: dict[str, Any], dtype: str) -> tuple[Any, Any]:
    """What the encoder makes of `in_x` and the decoder of `in_z`: one compilation."""
    here = coder(stage.network.module(stage.image_channels, stage.bottleneck, dtype))

    @jax.jit
    def run(params: Any, x: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        return here.encode(params, x), here.decode(params, z).image

    with jax.default_matmul_precision("highest"):
        return run(params, arrays["in_x"].astype(dtype), arrays["in_z"].astype(dtype))


@pytest.mark.parametrize("suffix", ["", "_diffusers", "_diffusers_old"])
def test_gaussian_latents(suffix):
    """By the names of the original, and those of diffusers."""
    arrays, config, weights = load_torch(f"latent/ldm_autoencoder_kl{suffix}")
    stage, params = variables(weights)
    assert (stage.network.channels, stage.network.res_blocks) == (
        (config["ddconfig"]["ch"], config["ddconfig"]["num_res_blocks"])
        if "ddconfig" in config
        else (config["block_out_channels"][0], config["layers_per_block"])
    )
    moments, image = both_ways(stage, params, arrays, "float32")
    np.testing.assert_allclose(moments, arrays["out_moments"], atol=2e-6, rtol=0)
    np.testing.assert_allclose(image, arrays["out_decoded"], atol=1e-5, rtol=0)
    if "out_std" in arrays:
        mean, log_variance = gaussian(moments)
        np.testing.assert_allclose(deviation(log_variance), arrays["out_std"], atol=2e-6, rtol=0)
        sample = mean + deviation(log_variance) * arrays["in_noise"]
        np.testing.assert_allclose(sample, arrays["out_sample"], atol=4e-6, rtol=0)
        np.testing.assert_allclose(kl_to_normal(mean, log_variance), arrays["out_kl"], rtol=1e-5)
    if "out64_moments" in arrays:  # where alone a wrong epsilon is told from rounding
        with jax.enable_x64(True):
            stage, params = variables(weights, lambda array: jnp.asarray(array, jnp.float64))
            moments, image = both_ways(stage, params, arrays, "float64")
            np.testing.assert_allclose(moments, arrays["out64_moments"], atol=1e-9, rtol=0)
            np.testing.assert_allclose(image, arrays["out64_decoded"], atol=1e-9, rtol=0)


def test_codes():
    arrays, config, weights = load_torch("latent/ldm_autoencoder_vq")
    stage, params = variables(weights)
    assert (stage.bottleneck.codebook_size, stage.bottleneck.channels) == (config["n_embed"], config["embed_dim"])
    given = nearest(params["codebook"], jnp.asarray(arrays["in_z"]))
    np.testing.assert_array_equal(given.codes, arrays["out_latent_indices"])
    latents, unquantized = both_ways(stage, params, arrays, "float32")
    np.testing.assert_allclose(latents, arrays["out_prequant"], atol=1e-5, rtol=0)
    np.testing.assert_allclose(unquantized, arrays["out_decoded_unquantized"], atol=1e-5, rtol=0)
    found = nearest(params["codebook"], latents)
    np.testing.assert_array_equal(found.codes, arrays["out_indices"])
    np.testing.assert_allclose(found.latents, arrays["out_quant"], atol=1e-5, rtol=0)
    np.testing.assert_allclose(codebook_loss(latents, found.latents), arrays["out_loss"], rtol=1e-5)
    # The same program decodes the rows of the codebook, which are images' latents as well as given ones.
    for name, rows in (("out_decoded_latent", given), ("out_reconstruction", found)):
        _, image = both_ways(stage, params, {**arrays, "in_z": rows.latents}, "float32")
        np.testing.assert_allclose(image, arrays[name], atol=1e-5, rtol=0)


def shapes(name: str) -> dict[str, np.ndarray]:
    """Arrays of a release's shapes, without their memory."""
    return {key: np.broadcast_to(np.float32(0), shape) for key, shape in RELEASED[name]["manifest"].items()}


def shaped(weights: dict[str, np.ndarray]) -> tuple[FirstStage, Any]:
    return variables(weights, lambda array: jax.ShapeDtypeStruct(array.shape, jnp.float32))


@pytest.mark.parametrize("name", RELEASED)
def test_every_weight_of_a_release_has_its_place(name):
    release, weights = RELEASED[name], shapes(name)
    stage, params = shaped(weights)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == release["parameters"]
    config = release["config"].get("ddconfig")
    if config:
        network = stage.network
        assert (network.channels, network.res_blocks) == (config["ch"], config["num_res_blocks"])
        assert list(network.multipliers) == config["ch_mult"]
        sides = {config["resolution"] // 2**level for level in network.attending}
        assert (sides, network.z_channels) == ({*config["attn_resolutions"]}, config["z_channels"])
        assert network.middle_attention == (config.get("attn_type") != "none")
        assert stage.bottleneck.channels == release["config"]["embed_dim"]
        assert stage.bottleneck.codebook_size == release["config"].get("n_embed", 0)
    for new, old in release.get("old_names", {}).items():
        weights[old] = weights.pop(new)
    assert shaped(weights) == (stage, params)


def test_files_that_hold_more():
    """With a prefix the rest does not matter; without it a file may hold what trained the autoencoder."""
    weights = shapes("ldm_first_stage_vq_f4")
    alone = shaped(weights)
    trained = weights | {"loss.discriminator.main.0.bias": np.zeros(3, np.float32)}
    assert shaped(trained) == alone
    whole = {f"{PREFIX}{key}": array for key, array in weights.items()}
    assert shaped(whole | {"betas": np.zeros(3), "model.diffusion_model.out.0.bias": np.zeros(3)}) == alone


def test_what_is_wrong_is_named():
    weights = shapes("ldm_first_stage_vq_f4")
    with pytest.raises(WeightsError, match=r"not the weights of an autoencoder.*encoder\.conv_in\.weight.* is missing"):
        variables({"visual.conv1.weight": np.zeros(3, np.float32)})
    short = dict(weights)
    del short["decoder.up.1.block.2.norm1.bias"]
    with pytest.raises(WeightsError, match=r"Missing: decoder\.up\.1\.block\.2\.norm1\.bias"):
        shaped(short)
    with pytest.raises(WeightsError, match=r"Not expected: quant_convs\.bias"):
        shaped({**weights, "quant_convs.bias": np.zeros(3, np.float32)})
    with pytest.raises(ConfigError, match="makes 100 channels; each level must have a multiple of 32"):
        shaped({**weights, "encoder.down.1.block.0.conv2.weight": np.zeros((100, 256, 3, 3))})
