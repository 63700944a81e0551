"""Autoencoders alone become workdirs: by the command, from files and folders."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import glowdiff
from glowdiff.cli import import_
from glowdiff.importers.lpips import LPIPS
from glowdiff.trained import restore
from tests import small
from tests.cli.typed import Result, typed
from tests.importers.golden import load_torch, random_weight


def command(system: str, **flags: object) -> Result:
    return typed(import_.main, system, *(f"--{name}={value}" for name, value in flags.items()))


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """A first stage's, with what trained it."""
    _, _, weights = load_torch("latent/ldm_autoencoder_kl")
    file = tmp_path_factory.mktemp("first_stage") / "model.npz"
    np.savez(file, **weights, **{"loss.logvar": np.zeros((), np.float32)})
    return file


@pytest.fixture(scope="module")
def workdir(file) -> Path:
    result = command("autoencoder", weights=file, workdir=file.parent / "run", scale=0.25, size=32)
    assert result.code == 0, result.err
    assert "holds an autoencoder (kl-f4); --config.model.codec.name=autoencoder" in result.out
    return file.parent / "run"


def test_it_encodes_and_decodes_as_the_original_at_its_scale(workdir):
    arrays, _, _ = load_torch("latent/ldm_autoencoder_kl")
    model, codec = restore(workdir), restore(workdir).method.codec
    assert codec is not None
    assert codec.posterior is not None
    assert codec.draw is not None
    images = np.round((arrays["in_x"].clip(-1, 1) + 1) * 127.5).astype(np.uint8)
    posterior = np.asarray(jax.jit(codec.posterior)(model.variables, images))
    mean = posterior[..., : posterior.shape[-1] // 2]
    np.testing.assert_allclose(codec.draw(model.variables, None, posterior), 0.25 * mean, rtol=1e-5)
    decoded = jax.jit(codec.decode)(model.variables, 0.25 * arrays["in_z"]).images
    expected = np.clip(np.round((arrays["out_decoded"] + 1) * 127.5), 0, 255)
    assert np.abs(np.asarray(decoded) - expected).max() <= 1


def test_scripts_load_it_and_others_name_it_as_their_codec(workdir):
    config = small.latent_config(workdir, data__size=32, data__name="photos")
    assert config.model.frozen() == {"codec": str(workdir)}
    assert glowdiff.load(workdir).encode(np.zeros((2, 32, 32, 3), np.uint8)).shape == (2, 8, 8, 4)


def test_folders_of_diffusers_tell_their_scale(tmp_path):
    from safetensors.numpy import save_file

    _, _, weights = load_torch("latent/ldm_autoencoder_kl_diffusers_old")
    folder = tmp_path / "model" / "vae"
    folder.mkdir(parents=True)
    save_file(weights, folder / "diffusion_pytorch_model.safetensors")
    (folder / "config.json").write_text(json.dumps({"scaling_factor": 0.5}))
    for number, path in enumerate((folder, folder.parent)):
        result = command("autoencoder", weights=path, workdir=tmp_path / str(number))
        assert result.code == 0, result.err
        assert restore(tmp_path / str(number)).config.model.scale == 0.5


def test_scales_are_measured_or_asked_for(file, tmp_path):
    assert "nothing says by what the latents are multiplied: give --scale=0.18215" in command(
        "autoencoder", weights=file, workdir=tmp_path / "none"
    ).err  # fmt: skip
    assert "--scale is measured, but no --data" in command(
        "autoencoder", weights=file, workdir=tmp_path / "none", scale="measured"
    ).err  # fmt: skip
    assert "--scale is 'half'; it must be a positive number, or measured" in command(
        "autoencoder", weights=file, workdir=tmp_path / "none", scale="half"
    ).err  # fmt: skip
    data = tmp_path / "data.npz"
    np.savez(data, arr_0=np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8))
    result = command("autoencoder", weights=file, workdir=tmp_path / "run", scale="measured", data=data, size=16)
    assert result.code == 0, result.err
    model = restore(tmp_path / "run")
    assert model.method.codec is not None
    images = np.random.default_rng(1).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    latents = model.method.codec.encode(model.variables, jax.random.key(0), images)
    assert float(latents.std()) == pytest.approx(1, abs=0.1)


def test_what_is_no_autoencoder_is_named(tmp_path):
    other = tmp_path / "other.npz"
    np.savez(other, weight=np.zeros(3, np.float32))
    assert "not the weights of an autoencoder of latent diffusion" in command(
        "autoencoder", weights=other, workdir=tmp_path / "run", scale=1
    ).err  # fmt: skip


def test_lpips_comes_in_two_files(tmp_path, monkeypatch):
    """With two convolutions instead of thirteen."""
    for room in ("networks", "importers"):
        monkeypatch.setattr(sys.modules[f"glowdiff.{room}.lpips"], "STAGES", ((4,), (6,)))
    vgg = {"features.0.weight": (4, 3, 3, 3), "features.0.bias": (4,), "features.3.weight": (6, 4, 3, 3)}
    vgg |= {"features.3.bias": (6,), "classifier.0.weight": (2, 2)}
    linear = {"lin0.model.1.weight": (1, 4, 1, 1), "lin1.model.1.weight": (1, 6, 1, 1)}
    for name, shapes in (("vgg", vgg), ("linear", linear)):
        np.savez(tmp_path / f"{name}.npz", **{key: random_weight(key, shape) for key, shape in shapes.items()})
    files = {"weights": tmp_path / "vgg.npz", "linear": tmp_path / "linear.npz", "workdir": tmp_path / "run"}
    result = command(LPIPS.name, **files)
    assert result.code == 0, result.err
    assert "model.perceptual=" in result.out
    model = restore(tmp_path / "run")
    assert model.method.features is not None
    assert model.method.features.distance is not None
    x = np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 3)).astype(np.float32)
    assert (np.abs(model.method.features.distance(model.variables, x, -x)) > 0).all()
    wrong = command(LPIPS.name, **files | {"linear": tmp_path / "vgg.npz", "workdir": tmp_path / "other"})
    assert r"LPIPS: The weights do not fit the flags. Missing: lin0.model.1.weight" in wrong.err
