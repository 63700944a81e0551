"""Folders of diffusers, and the other kinds of models: which workdir each becomes."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

import glowdiff
from glowdiff.errors import ConfigError
from glowdiff.importers.autoencoder import variables as codec_variables
from glowdiff.importers.mapping import WeightsError
from glowdiff.importers.sd_files import pieces
from glowdiff.importers.sd_model import Asked, recognised
from glowdiff.importers.stable_diffusion import import_checkpoint
from glowdiff.inference.request import request
from glowdiff.text import tokenizer as tokenizers
from glowdiff.trained import part_folder, restore
from tests.importers.golden import FOLDER, random_weight
from tests.importers.sd import MERGES
from tests.importers.test_torch_files import content, zipped

TOKENS = 256 * 2 + 2 + 2  # of the toy vocabulary
WIDTH = 32  # of the goldens' text encoders, to which UNets' contexts are brought


def golden(name, prefix="", changed=None):
    """Weights of a golden file's names, those of some `changed` sizes; and its configuration."""
    with np.load(FOLDER / "latent" / f"{name}.npz", allow_pickle=False) as file:
        spec = json.loads(str(file["spec"]))
    weights = {}
    for key, shape in spec["manifest"].items():
        shape = list(shape)
        if key.endswith("token_embedding.weight"):
            shape[0] = TOKENS
        if ".attn" in key and len(shape) == 2 and key.endswith(("to_k.weight", "to_v.weight")):
            shape[1] = {**(changed or {})}.get(shape[1], shape[1])
        inner = key.removeprefix("cond_stage_model.model.") if prefix else key
        weights[f"{prefix}{inner}"] = np.asarray(random_weight(key, tuple(shape)), np.float32)
    return weights, {name: value for name, value in spec["config"].items() if name != "_class_name"}


@pytest.fixture
def vocab(tmp_path):
    (tmp_path / "merges.txt").write_text(MERGES)
    return tmp_path / "merges.txt"


# ---- Folders.

SCHEDULER = {
    "prediction_type": "v_prediction", "beta_start": 0.001, "beta_end": 0.013, "beta_schedule": "scaled_linear",
    "rescale_betas_zero_snr": True,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """Of Stable Diffusion 2: the UNet in shards, the text encoder in half precision only, the autoencoder pickled."""
    root = tmp_path / "folder"
    unet, unet_config = golden("sd_unet_v2_diffusers", changed={40: WIDTH})
    text, text_config = golden("sd_text_openclip_diffusers")
    codec, codec_config = golden("ldm_autoencoder_kl_diffusers_old")
    configs = {
        "unet/config.json": unet_config | {"cross_attention_dim": WIDTH},
        "text_encoder/config.json": text_config | {"vocab_size": TOKENS, "architectures": ["CLIPTextModel"]},
        "vae/config.json": codec_config | {"scaling_factor": 0.25},
        "scheduler/scheduler_config.json": SCHEDULER,
        "tokenizer/tokenizer_config.json": {"pad_token": "!"},
    }
    for name, config in configs.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(json.dumps(config))
    (root / "tokenizer/merges.txt").write_text(MERGES)
    stem, index = "diffusion_pytorch_model", {}
    for shard in (1, 2):
        names = sorted(unet)[shard - 1 :: 2]
        file = f"{stem}-0000{shard}-of-00002.safetensors"
        save_file({name: unet[name] for name in names}, root / "unet" / file)
        index |= dict.fromkeys(names, file)
    (root / "unet" / f"{stem}.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    half = {name: array.astype(np.float16) for name, array in text.items()}
    save_file(half, root / "text_encoder/model.fp16.safetensors")
    (root / "vae" / f"{stem}.bin").write_bytes(zipped(content(codec), codec))
    return root


def test_a_folder_of_diffusers(folder, tmp_path):
    model = import_checkpoint(folder, tmp_path / "run", Asked(clip_skip=2))
    assert (model.kind.name, model.prediction) == ("Stable Diffusion 2", "v")
    loaded = restore(tmp_path / "run")
    process, text = loaded.config.model.process, loaded.config.model.text
    assert (process.beta_start, process.beta_end, process.zero_terminal_snr) == (0.001, 0.013, True)
    assert loaded.config.sampling.spacing == "trailing"
    assert (text.layers, text.padding, text.activation) == (1, "zero", "gelu")
    assert loaded.spec.shape == (64, 64, 3)
    assert restore(part_folder(tmp_path / "run", "codec")).config.model.scale == 0.25
    unet, _ = golden("sd_unet_v2_diffusers", changed={40: WIDTH})
    key = loaded.variables["params"]["middle_attention"]["block_0"]["attn2"]["key"]["kernel"]
    np.testing.assert_array_equal(key, unet["mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"].T)
    table = loaded.variables["frozen"]["text"]["params"]["tokens"]
    assert np.asarray(table).dtype == np.float32
    cond, options = request(loaded, 1, {"prompt": "a cat", "steps": 4})
    latents = loaded.method.draws.latents(jax.random.key(0), 1)
    drawn = jax.eval_shape(
        lambda v, x, c: loaded.method.draws.sample(v, jax.random.key(0), x, c, options), loaded.variables, latents, cond
    )
    assert drawn.images.shape == (1, 64, 64, 3)


def test_what_the_folder_says_is_not_overruled_in_silence(folder, caplog):
    scheduler = {name: value for name, value in SCHEDULER.items() if name != "rescale_betas_zero_snr"}
    (folder / "scheduler/scheduler_config.json").write_text(json.dumps(scheduler))
    found = pieces(folder)
    stage, _ = codec_variables(found.codec)
    assert recognised(found, stage, Asked(prediction="eps")).prediction == "eps"
    assert "says that the UNet predicts v: run as the other one it draws noise" in caplog.text


def test_another_process_is_refused(folder):
    (folder / "scheduler/scheduler_config.json").write_text(json.dumps(SCHEDULER | {"beta_schedule": "linear"}))
    found = pieces(folder)
    with pytest.raises(ConfigError, match="whose scheduler has beta_schedule=linear"):
        recognised(found, codec_variables(found.codec)[0], Asked())


def test_a_folder_without_a_text_encoder(folder, tmp_path):
    (folder / "text_encoder").rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="whose UNet reads captions, but it has no text_encoder/"):
        import_checkpoint(folder, tmp_path / "run", Asked())
    assert not (tmp_path / "run").exists()


# ---- Single files of other kinds.

HEADS = {"unet": {"num_head_channels": 16}}
UNET, CODEC, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.model."


def single(tmp_path, *parts):
    file = tmp_path / "model.safetensors"
    save_file({name: array for weights in parts for name, array in weights.items()}, file)
    return file


def program_of(workdir, **choices):
    """What sampling returns, which is not computed."""
    model = glowdiff.load(workdir)
    cond, options = request(model.trained, 2, choices, whole=False)
    if model.config.model.class_conditional and "label" not in cond:
        cond["label"] = np.zeros(2, np.int32)
    latents = model.method.draws.latents(jax.random.key(0), 2)
    run = jax.eval_shape(
        lambda v, x, c: model.method.draws.sample(v, jax.random.key(0), x, c, options), model.variables, latents, cond
    )
    return model, run.images.shape


def test_the_upscaler(tmp_path, vocab):
    unet, _ = golden("sd_unet_upscaler", UNET, {24: WIDTH})
    codec, text = golden("ldm_autoencoder_kl", CODEC)[0], golden("sd_text_openclip", TEXT)[0]
    flags = {"unet": {"image_size": 16, "num_heads": 4}}
    file = single(tmp_path, unet, codec, text)
    model = import_checkpoint(file, tmp_path / "run", Asked(vocabulary=vocab, flags=flags))
    assert (model.kind.enlarges, model.prediction, model.betas) == (True, "v", (0.0001, 0.02))
    low_res = np.zeros((2, 16, 16, 3), np.uint8)
    loaded, shape = program_of(tmp_path / "run", prompt="a cat", low_res=low_res, noise_level=3, steps=4)
    assert shape == (2, 64, 64, 3)
    assert loaded.config.model.network.cross_only == "8"  # of the two sides at which there is attention
    assert loaded.method.takes
    with pytest.raises(ConfigError, match="noise_level 12 does not exist; this model knows 0 to 11"):
        request(loaded.trained, 2, {"prompt": "a", "low_res": low_res, "noise_level": 12})


def test_classes(tmp_path):
    unet, _ = golden("ldm_unet_class", UNET)
    codec, _ = golden("ldm_autoencoder_vq", CODEC)
    table = {"cond_stage_model.embedding.weight": random_weight("table", (7, 40))}
    file = single(tmp_path, unet, codec, table)
    flags = {"unet": {"image_size": 16, "num_heads": 1}}
    model = import_checkpoint(file, tmp_path / "run", Asked(flags=flags))
    assert model.kind.name == "latent diffusion with classes"
    loaded, shape = program_of(tmp_path / "run", label=3, steps=4)
    assert shape == (2, *loaded.spec.shape)
    assert len(loaded.spec.classes) == 7
    table_here = loaded.variables["params"]["label_embed"]["embedding"]
    np.testing.assert_array_equal(table_here, table["cond_stage_model.embedding.weight"])


def test_without_conditions_and_by_averages(tmp_path):
    unet, _ = golden("ldm_unet_uncond", UNET)
    codec, _ = golden("ldm_autoencoder_vq", CODEC)
    short = {name: name.removeprefix("model.").replace(".", "") for name in unet}
    averages = {f"model_ema.{short[name]}": array + 1 for name, array in unet.items()}
    file = single(tmp_path, unet, codec, averages)
    flags = {"unet": {"image_size": 16, "num_head_channels": 16}}
    for name, asked in (("run", Asked(flags=flags)), ("ema", Asked(flags=flags, averages=True))):
        model = import_checkpoint(file, tmp_path / name, asked)
        assert (model.kind.name, model.scale, model.betas) == ("latent diffusion", 1.0, (0.0015, 0.0195))
        loaded, shape = program_of(tmp_path / name, steps=4)
        assert shape == (2, *loaded.spec.shape)
        bias = unet["model.diffusion_model.out.2.bias"] + (name == "ema")
        np.testing.assert_array_equal(loaded.variables["params"]["conv_out"]["bias"], bias)
    missing = single(tmp_path, unet, codec)
    with pytest.raises(WeightsError, match="holds no averages"):
        import_checkpoint(missing, tmp_path / "other", Asked(flags=flags, averages=True))


def test_what_nothing_says_is_asked_for(tmp_path, vocab):
    unet, _ = golden("sd_unet_v2", UNET, {40: WIDTH})
    codec, text = golden("ldm_autoencoder_kl", CODEC)[0], golden("sd_text_openclip", TEXT)[0]
    file, asked = single(tmp_path, unet, codec, text), Asked(vocabulary=vocab, flags=HEADS)
    with pytest.raises(ConfigError, match=r"is Stable Diffusion 2, and nothing in it says .* --prediction=eps"):
        import_checkpoint(file, tmp_path / "run", asked)
    with pytest.raises(ConfigError, match=r"--size is 48; it must be a multiple of 32"):
        import_checkpoint(file, tmp_path / "run", asked._replace(prediction="v", size=48))
    with pytest.raises(WeightsError, match="holds no text encoder"):
        import_checkpoint(single(tmp_path, unet, codec), tmp_path / "run", asked._replace(prediction="v"))
    assert not (tmp_path / "run").exists()


def test_the_vocabulary_must_be_the_encoders(tmp_path, vocab):
    unet, _ = golden("sd_unet_v2", UNET, {40: WIDTH})
    codec, text = golden("ldm_autoencoder_kl", CODEC)[0], golden("sd_text_openclip", TEXT)[0]
    vocab.write_text(MERGES.rsplit("\n", 2)[0])
    assert tokenizers.clip(vocab).size == TOKENS - 1
    file = single(tmp_path, unet, codec, text)
    with pytest.raises(ConfigError, match=r"the vocabulary has 515 entries, but the text encoder 516"):
        import_checkpoint(file, tmp_path / "run", Asked(vocabulary=vocab, flags=HEADS, prediction="v", size=64))
