"""`python -m glowdiff import adm`: from a file of the original's weights to a workdir like any other."""

from __future__ import annotations

import json
import sys

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

import glowdiff
from glowdiff.cli.import_ import main
from glowdiff.importers.adm import RELEASES
from glowdiff.workdir import description as workdirs
from tests import small
from tests.importers.golden import load_torch, network_output

GOLDENS = {
    "adm_unet_plain": "npz",
    "adm_unet_updown": "safetensors",
    "adm_superres": "npz",
    "adm_classifier_attention": "safetensors",
}
KEY = jax.random.key(0)


def command(tmp_path, arrays, flags, kind="npz", **options):
    path = tmp_path / f"weights.{kind}"
    if kind == "npz":
        np.savez(path, **arrays)
    else:
        save_file(arrays, path)
    text = {} if flags is None else {"flags": flags if isinstance(flags, str) else json.dumps(flags)}
    chosen = {"weights": path, "workdir": tmp_path / "run", "data": "cifar10"} | text | options
    return main(["adm", *(f"--{name}={value}" for name, value in chosen.items())])


def golden(name):
    arrays, flags, weights = load_torch(name)
    return arrays, flags | ({"small_size": arrays["in_low_res"].shape[1]} if "in_low_res" in arrays else {}), weights


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Every golden through the command, by name."""
    found = {}
    for name, kind in GOLDENS.items():
        tmp_path = tmp_path_factory.mktemp(name)
        _, flags, weights = golden(name)
        assert command(tmp_path, weights, flags, kind) == 0
        found[name] = glowdiff.load(tmp_path / "run")
    return found


@pytest.mark.parametrize("name", GOLDENS)
def test_the_workdir_computes_what_the_original_computes(models, name):
    model = models[name]
    np.testing.assert_allclose(*network_output(model, golden(name)[0]), atol=1e-5, rtol=0)
    assert model.step == 0


def test_an_imported_classifier_guides_an_imported_model(models):
    model, classifier = models["adm_unet_updown"], models["adm_classifier_attention"]
    images = [model.sample(KEY, 2, label=3, steps=2, guides=[(classifier, scale)]) for scale in (0, 50)]
    assert images[0].shape == (2, *model.spec.shape)
    assert (images[0] != images[1]).any()


def test_an_imported_upsampler_enlarges(models):
    model = models["adm_superres"]
    small_shape = golden("adm_superres")[0]["in_low_res"].shape[1:]
    low_res = np.random.default_rng(0).integers(0, 256, (2, *small_shape), dtype=np.uint8)
    assert model.sample(KEY, 2, label=3, steps=2, low_res=low_res).shape == (2, *model.spec.shape)


def test_a_release_by_name_gives_weights_as_averages_and_classes_as_numbers(tmp_path, capsys, monkeypatch):
    _, flags, weights = golden("adm_classifier_attention")
    half = {key: array.astype(np.float16) for key, array in weights.items()}
    monkeypatch.setitem(RELEASES, "tiny_classifier", flags | {"noise_schedule": "cosine"})
    assert command(tmp_path, half, None, preset="tiny_classifier.pt", dtype="bfloat16", batch=8) == 0
    said = capsys.readouterr().out
    assert f"sample.py --classifier={tmp_path / 'run'} guides with it" in said
    assert "prepare it first" in said
    config, spec = workdirs.read(tmp_path / "run")
    assert (config.method, config.dtype, config.train.batch) == ("classifier", "bfloat16", 8)
    assert (config.model.process.schedule, config.model.network.pool) == ("cosine", "attention")
    assert spec.classes == tuple(map(str, range(flags["out_channels"])))
    raw, averaged = (glowdiff.load(tmp_path / "run", ema=ema).variables for ema in (False, True))
    assert small.as_bytes(raw) == small.as_bytes(averaged)
    assert {leaf.dtype for leaf in jax.tree.leaves(raw)} == {np.dtype("float32")}


def test_data_on_this_machine_give_their_facts(tmp_path, capsys):
    _, flags, weights = golden("adm_classifier_attention")
    classes, count = flags["out_channels"], 4 * flags["out_channels"]

    def write(classes):
        shape = (count, flags["image_size"], flags["image_size"], 3)
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        np.savez(tmp_path / "images.npz", arr_0=images, arr_1=np.arange(count, dtype=np.int32) % classes)

    write(classes)
    assert command(tmp_path, weights, flags, data=tmp_path / "images.npz") == 0
    assert "prepare it first" not in capsys.readouterr().out
    spec = workdirs.read(tmp_path / "run").spec
    assert spec.train_size + spec.test_size == count
    write(classes - 1)
    assert command(tmp_path, weights, flags, data=tmp_path / "images.npz", workdir=tmp_path / "other") == 1
    assert f"has {classes - 1} classes; the flags ask for num_classes={classes}" in capsys.readouterr().err


_, PLAIN, WEIGHTS = golden("adm_unet_plain")
SIZE, CHANNELS = PLAIN["image_size"], PLAIN["model_channels"]
MISTAKES = {
    "no such release": (None, {"preset": "64x64_difusion"}, "--preset is '64x64_difusion', which is no release; did"),
    "both": (PLAIN, {"preset": "64x64_diffusion"}, "give either --preset, the name of a release, or --flags"),
    "neither": (None, {}, "neither was given"),
    "weights of another release": (
        None,
        {"preset": "64x64_classifier"},
        "Missing: input_blocks.10.0.emb_layers.1.bias",
    ),
    "an unknown flag": (PLAIN | {"num_head": 2}, {}, "has num_head, which the original does not know"),
    "another width": (
        PLAIN | {"model_channels": 2 * CHANNELS},
        {},
        f"input_blocks.0.0.weight: (3, 3, 3, {CHANNELS}), where the flags ask",
    ),
    "data of another shape": (
        PLAIN,
        {"data": "digits"},
        f"8x8x1 with 17 levels; the flags ask for {SIZE}x{SIZE}x3 with 256",
    ),
    "data that do not exist": (PLAIN, {"data": "cifra10"}, "did you mean cifar10"),
    "an impossible batch": (PLAIN, {"batch": -1}, "--batch is -1"),
    "no such arithmetic": (PLAIN, {"dtype": "float16"}, "--dtype is 'float16'; it must be one of float32, bfloat16"),
    "no such weights": (PLAIN, {"weights": "nothing.pt"}, "--weights is nothing.pt, where there is no file"),
    "another kind of file": (PLAIN, {"weights": "nothing.ckpt"}, "must be an .npz, .safetensors or .pt file"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told(tmp_path, capsys, mistake):
    flags, options, message = MISTAKES[mistake]
    assert command(tmp_path, WEIGHTS, flags, **options) == 1
    told(capsys, message)
    assert not (tmp_path / "run").exists()


def told(capsys, message):
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert len(error.splitlines()) == 1


BROKEN = {
    "missing": (lambda w: {key: array for key, array in w.items() if key != "out.2.bias"}, "Missing: out.2.bias."),
    "not expected": (lambda w: w | {"label_embed.weight": np.zeros((10, 128))}, "Not expected: label_embed.weight"),
    "misshaped": (
        lambda w: w | {"time_embed.0.bias": np.zeros(7)},
        f"time_embed.0.bias: (7,), where the flags ask for ({4 * CHANNELS},)",
    ),
    "nan": (lambda w: w | {"out.2.bias": np.full(3, np.nan)}, "out.2.bias holds values that are not finite"),
    "pickles": (lambda w: w | {"x": np.array([{}], object)}, "pickled Python objects"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_weights_that_cannot_be_used_are_told(tmp_path, capsys, kind):
    change, message = BROKEN[kind]
    assert command(tmp_path, change(WEIGHTS), PLAIN) == 1
    told(capsys, message)


@pytest.mark.parametrize("name", ["w.npz", "w.safetensors"])
def test_damaged_files_are_told(tmp_path, capsys, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04rest")
    assert command(tmp_path, {"a": np.zeros(3)}, PLAIN, weights=tmp_path / name) == 1
    told(capsys, "a damaged")


def test_without_torch_the_message_says_how_to_convert(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "w.pt").touch()
    assert command(tmp_path, {"a": np.zeros(3)}, PLAIN, weights=tmp_path / "w.pt") == 1
    told(capsys, "np.savez(path, **{key: tensor.numpy() for key, tensor in state_dict.items()})")


def test_a_workdir_that_is_not_empty_is_left_alone(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("mine")
    assert command(tmp_path, WEIGHTS, PLAIN) == 1
    told(capsys, "is not empty; give a new one")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine.txt"]
