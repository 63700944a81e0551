"""Which model of latent diffusion a checkpoint is follows from names and shapes, and what is none is named."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from glowdiff.errors import ConfigError
from glowdiff.importers import sd_flags
from glowdiff.importers.clip_text import recognised as recognised_text
from glowdiff.importers.diffusers_names import original_names
from glowdiff.importers.latent_unet import parse
from glowdiff.importers.mapping import WeightsError
from glowdiff.importers.sd_files import pieces
from glowdiff.importers.sd_recognition import kind_of, unet_flags
from tests.importers.golden import released

MANIFESTS = released("latent/released_manifests_sd")
UNETS = {
    name: entry
    for name, entry in MANIFESTS.items()
    if entry["kind"] == "LDM UNetModel" or entry.get("rename_of", "").endswith("_unet")
}
# Two that nothing but their configuration tells from others, and that are not read.
HEADS_ELSEWHERE = ("ldm_text2img256_unet", "ldm_semantic_synthesis256_unet")
KINDS = {
    "sd_1_unet": ("Stable Diffusion 1", "eps", (0.00085, 0.012)),
    "sd_1_inpainting_unet": ("Stable Diffusion 1, inpainting", "eps", (0.00085, 0.012)),
    "sd_2_unet": ("Stable Diffusion 2", None, (0.00085, 0.012)),
    "sd_2_inpainting_unet": ("Stable Diffusion 2, inpainting", "eps", (0.00085, 0.012)),
    "sd_x4_upscaler_unet": ("Stable Diffusion's x4 upscaler", "v", (0.0001, 0.02)),
    "ldm_celeba256_unet": ("latent diffusion", "eps", (0.0015, 0.0195)),
    "ldm_lsun_churches256_unet": ("latent diffusion", "eps", (0.0015, 0.0155)),
    "ldm_cin256_unet": ("latent diffusion with classes", "eps", (0.0015, 0.0195)),
    "ldm_cin256_v2_unet": ("latent diffusion with classes", "eps", (0.0015, 0.0195)),
}


def shapes_of(entry):
    return {name: tuple(shape) for name, shape in entry["manifest"].items()}


@pytest.mark.parametrize("name", [name for name in UNETS if name not in HEADS_ELSEWHERE])
def test_shapes_tell_the_arguments_of_the_constructor(name):
    shapes, expected = shapes_of(UNETS[name]), parse(UNETS[name]["config"])
    names = original_names(shapes)
    flags = unet_flags({names[key]: shape for key, shape in shapes.items()})
    assert parse(flags).at(expected.side) == expected


@pytest.mark.parametrize("name", KINDS)
def test_kinds(name):
    latent = parse(UNETS[name]["config"])
    encoder = MANIFESTS["clip_vit_l_14_text" if "sd_1" in name else "openclip_vit_h_14_text"]
    text = recognised_text(shapes_of(encoder)) if name.startswith("sd") else None
    kind = kind_of(latent, text, 1001 if "cin" in name else 0, "FILE")
    assert (kind.name, kind.prediction, kind.betas) == KINDS[name]


@pytest.mark.parametrize("name", ["sd_2_depth_unet", "ldm_bsr_sr_unet", "ldm_inpainting_big_unet", "sd_1_unet"])
def test_what_is_not_read_here(name):
    with pytest.raises(WeightsError, match=r"such models .* are not read|no text encoder"):
        kind_of(parse(UNETS[name]["config"]), None, 0, "FILE")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight", "a LoRA"),
        ("conditioner.embedders.1.model.ln_final.bias", "SDXL"),
        ("model.diffusion_model.joint_blocks.0.x_block.attn.proj.bias", "Stable Diffusion 3"),
        ("double_blocks.0.img_attn.norm.key_norm.scale", "Flux"),
        ("control_model.input_blocks.0.0.bias", "a ControlNet"),
        ("position_net.linears.0.bias", "GLIGEN"),
        ("emb_params", "a textual inversion"),
        ("depth_model.model.pretrained.model.cls_token", "depth model"),
        ("cond_stage_model.transformer.attn_layers.layers.0.0.weight", "reads by BERT"),
        ("encoder.conv_in.weight", "holds no UNet .* an autoencoder alone, which glowdiff import autoencoder reads"),
        ("model.diffusion_model.out.0.bias", r"a UNet, but no autoencoder \(first_stage_model"),
        ("something.else", "holds no UNet"),
    ],
)  # fmt: skip
def test_other_files_are_named(name, message, tmp_path):
    save_file({name: np.zeros(1, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=rf"model\.safetensors, .*{message}"):
        pieces(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["unet", "vae", "text_encoder_2"], "SDXL"),
        (["transformer", "vae"], "a transformer"),
        (["unet"], "it has no vae/"),
        (["vae"], "it has no unet/"),
        (["unet", "vae"], r"whose unet/ has no config\.json"),
    ],
)
def test_other_folders_are_named(folders, message, tmp_path):
    for folder in folders:
        (tmp_path / folder).mkdir()
    with pytest.raises((ConfigError, WeightsError), match=message):
        pieces(tmp_path)


def test_flags_of_trainings():
    unet = {"num_heads": 4}
    written = unet | {"image_size": 32}  # which is no matter there
    inner = {"linear_start": 0.001, "unet_config": {"target": "x", "params": written}, "cond_stage_config": "y"}
    assert sd_flags.sections({"model": {"params": inner}}) == {
        "unet": unet, "text": {}, "process": {"linear_start": 0.001},
    }  # fmt: skip
    flags = sd_flags.read("num_heads=4,hidden_act=gelu,parameterization=v")
    assert flags == {"unet": {"num_heads": "4"}, "text": {"hidden_act": "gelu"}, "process": {"parameterization": "v"}}
    with pytest.raises(ConfigError, match=r"has num_head, which the originals do not know.*num_heads"):
        sd_flags.read("num_head=4")


def test_flags_in_yaml(tmp_path):
    file = tmp_path / "v1-inference.yaml"
    file.write_text("model:\n  params:\n    parameterization: v\n    unet_config: {params: {num_heads: 8}}\n")
    assert sd_flags.read(str(file))["process"] == {"parameterization": "v"}
    file.write_text("a: [")
    with pytest.raises(ConfigError, match="which is no YAML"):
        sd_flags.read(str(file))
    file.write_text("- a")
    with pytest.raises(ConfigError, match="--flags holds a list"):
        sd_flags.read(str(file))
