"""Whole checkpoints become workdirs that draw what the originals draw."""

from __future__ import annotations

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import glowdiff
from glowdiff.catalog.methods import build_method
from glowdiff.catalog.parse import parse
from glowdiff.cli import import_, sample
from glowdiff.inference.request import request
from glowdiff.method import Drawn, Frozen, finite_rows
from glowdiff.trained import part_folder, restore
from glowdiff.training.experiment import build
from glowdiff.training.fine_tune import start_from
from tests import small
from tests.importers import sd
from tests.training.test_finetune import configuration

NAMES = ("sd_single_file_v1", "sd_single_file_v2")


def workdir_of(name):
    """A toy, and the workdir that the command makes of its single file."""

    def make(folder):
        toy = sd.toy(name, folder)
        (folder / "flags.json").write_text(json.dumps(toy.config))
        file = sd.write(toy, folder)
        arguments = {"weights": file, "vocab": toy.vocab, "flags": folder / "flags.json", "workdir": folder / "run"}
        assert import_.main(["stable_diffusion", *(f"--{key}={value}" for key, value in arguments.items())]) == 0

    folder = small.once(name, make)
    return sd.toy(name, folder), folder / "run"


@pytest.fixture(scope="module", params=NAMES)
def imported(request):
    return workdir_of(request.param)


def nhwc(array):
    return np.moveaxis(array, 1, -1)


def choices(toy):
    scale, steps = toy.spec["guidance_scale"], str(toy.spec["steps"])
    ddim = {"sampler": "ddim", "eta": 0.0, "spacing": "leading", "final": "first"}
    return {"prompt": toy.prompts, "negative_prompt": toy.negative, "guidance_scale": scale, "steps": steps, **ddim}


def test_captions_say_what_they_say_in_the_original(imported):
    toy, workdir = imported
    model, text = restore(workdir), restore(part_folder(workdir, "text"))
    cond, _ = request(model, 2, choices(toy))
    with jax.default_matmul_precision("highest"):
        for prefix, key in (("", "out_context"), ("negative_", "out_uncond_context")):
            captions = cond[f"{prefix}tokens"], cond[f"{prefix}mask"]
            said = jax.jit(text.method.text)(text.variables, *captions)["text"]
            np.testing.assert_allclose(said, toy.arrays[key], atol=3e-6, rtol=0)


def test_it_draws_what_the_original_draws(imported):
    toy, workdir = imported
    model = restore(workdir)
    cond, options = request(model, 2, choices(toy))
    x_T = nhwc(toy.arrays["in_x_T"])
    # Latents instead of the images that are made of them.
    parts = {name: restore(part_folder(workdir, name)) for name in ("codec", "text")}
    codec = parts["codec"].method.codec._replace(decode=lambda _, x: Drawn(x, finite_rows(x)))
    frozen = {name: Frozen(part.method, part.spec) for name, part in parts.items()}
    frozen["codec"] = Frozen(parts["codec"].method._replace(codec=codec), parts["codec"].spec)
    undecoded = build_method(model.config, model.spec, frozen=frozen)
    with jax.default_matmul_precision("highest"):
        latents = jax.jit(undecoded.draws.sample)(model.variables, jax.random.key(0), x_T, cond, options).images
        pixels = jax.jit(parts["codec"].method.draws.unrounded)(parts["codec"].variables, latents, {})
    np.testing.assert_allclose(latents, nhwc(toy.arrays["out_latents"]), atol=1e-4, rtol=0)
    pixels = np.clip(pixels, 0, 255)
    np.testing.assert_allclose(pixels / 255, nhwc(toy.arrays["out_image"]), atol=2e-5, rtol=0)
    # The original cuts off what is behind the point, where ours are rounded.
    different = np.abs(np.floor(pixels) - toy.arrays["out_image_uint8"])
    assert different.max() <= 1
    assert (different > 0).sum() <= 2


def test_it_encodes_as_the_original_encodes(imported):
    toy, workdir = imported
    codec = restore(part_folder(workdir, "codec"))
    image = nhwc(toy.arrays["in_image"])
    with jax.default_matmul_precision("highest"):
        moments = jax.jit(codec.method.codec.posterior)(codec.variables, (image + 1) * np.float32(127.5))
    mean, log_variance = np.split(np.asarray(moments), 2, -1)
    latents = codec.config.model.scale * (mean + np.exp(log_variance / 2) * nhwc(toy.arrays["in_image_noise"]))
    np.testing.assert_allclose(latents, nhwc(toy.arrays["out_image_latents"]), atol=2e-6, rtol=0)


def test_it_is_fine_tuned_wherever_its_workdir_is(tmp_path):
    """As configs/finetune.py does it; codec and text encoder stay as they are."""
    workdir = shutil.copytree(workdir_of(NAMES[0])[1], tmp_path / "moved")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, caption in enumerate("abcd"):
        Image.fromarray(np.full((20, 20, 3), 60 * number, np.uint8)).save(pictures / f"{number}.png")
        (pictures / f"{number}.txt").write_text(caption)
    settings = configuration(str(workdir))
    settings.data.path = str(pictures)
    experiment, original = build(parse(settings)), restore(workdir)
    jax.tree.map(np.testing.assert_array_equal, experiment.frozen, original.variables["frozen"])
    assert experiment.tokenizer.size == original.tokenizer.size
    empty = experiment.abstract_state()._replace(key=None)
    blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype, device=leaf.sharding), empty)
    state = start_from(blank, experiment, str(workdir))
    jax.tree.map(np.testing.assert_array_equal, state.variables["params"], original.variables["params"])
    assert not [name for name in state.variables["params"] if "text" in name or "autoencoder" in name]
    batch = {**experiment.example_batch(2), "index": jax.ShapeDtypeStruct((2,), np.int32)}
    loss, _ = jax.eval_shape(experiment.method.loss, experiment.variables(state.variables), jax.random.key(0), batch)
    assert loss.shape == ()


def test_the_commands_sample_it(tmp_path):
    toy, workdir = workdir_of(NAMES[1])
    arguments = {"workdir": workdir, "out": tmp_path / "s.npz", "num": 2, "steps": 4, "seed": 3}
    words = [f"--prompt={toy.prompts[1]}", f"--negative_prompt={toy.negative[1]}"]
    assert sample.main([*words, *(f"--{key}={value}" for key, value in arguments.items())]) == 0
    with np.load(tmp_path / "s.npz") as file:
        drawn = file["arr_0"]
    expected = glowdiff.load(workdir).sample(
        jax.random.key(3), 2, prompt=toy.prompts[1], negative_prompt=toy.negative[1], steps=4
    )
    np.testing.assert_array_equal(drawn, expected)
