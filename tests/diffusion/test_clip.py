"""CLIP as a method: the contrastive loss against NumPy, on one device and on eight, and what guides by captions."""

from __future__ import annotations

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import glowdiff
from glowdiff.catalog.methods import build_method
from glowdiff.diffusion.clip import contrast, same_captions
from glowdiff.errors import ConfigError
from glowdiff.spec import DataSpec
from tests import small
from tests.diffusion import clips

KEY = jax.random.key(0)


def unit(shape: tuple[int, ...], seed: int) -> np.ndarray:
    z = np.random.default_rng(seed).standard_normal(shape)
    return (z / np.linalg.norm(z, axis=-1, keepdims=True)).astype(np.float32)


def plainly(z_image: np.ndarray, z_text: np.ndarray, scale: float, names: list[str]) -> np.ndarray:
    """The loss of each pair, one number at a time."""

    def nats(logits: np.ndarray, row: int) -> float:
        total = np.log(sum(np.exp(float(logit)) for logit in logits))
        mine = [float(logits[j]) - total for j, name in enumerate(names) if name == names[row]]
        return -sum(mine) / len(mine)

    logits = scale * z_image.astype(np.float64) @ z_text.T.astype(np.float64)
    return np.array([(nats(logits[i], i) + nats(logits[:, i], i)) / 2 for i in range(len(names))])


@pytest.mark.parametrize("names", ["abcde", "abbab", "aaaaa"])
def test_the_loss_is_symmetric_and_equal_captions_share_their_targets(names):
    z_image, z_text = unit((5, 4), 0), unit((5, 4), 1)
    for i, name in enumerate(names):
        z_text[i] = z_text[names.index(name)]
    same = np.array([[a == b for a in names] for b in names])
    found, right = contrast(z_image, z_text, jnp.float32(9), same)
    np.testing.assert_allclose(found, plainly(z_image, z_text, 9, list(names)), rtol=1e-5)
    nearest = [names[j] for j in (z_image @ z_text.T).argmax(1)]
    assert right.tolist() == [mine == found for mine, found in zip(names, nearest, strict=True)]


def test_rows_that_fill_a_batch_count_for_none():
    z_image, z_text = unit((5, 4), 0), unit((5, 4), 1)
    z_image[3:], z_text[3:] = z_image[2], z_text[2]
    names = "abccc"
    same = np.array([[a == b for a in names] for b in names])
    found = contrast(z_image, z_text, jnp.float32(9), same, np.array([1, 1, 1, 0, 0], bool))
    alone = contrast(z_image[:3], z_text[:3], jnp.float32(9), same[:3, :3])
    np.testing.assert_allclose(found[0][:3], alone[0], rtol=1e-5)
    assert found[1][:3].tolist() == alone[1].tolist()
    assert np.isfinite(found[0]).all()


def test_captions_are_equal_whatever_pads_them():
    tokens = np.array([[1, 2, 9], [1, 2, 7], [1, 2, 9], [2, 1, 0]], np.int32)
    mask = np.array([[1, 1, 0], [1, 1, 0], [1, 1, 1], [1, 1, 0]], bool)
    expected = np.eye(4, dtype=bool)
    expected[0, 1] = expected[1, 0] = True
    np.testing.assert_array_equal(same_captions(tokens, mask), expected)


@pytest.fixture(scope="module")
def noised():
    method = clips.method()
    return method, jax.jit(method.init)(KEY, clips.batch(2))


def test_loss_and_scores_are_those_of_the_embeddings(noised):
    method, variables = noised
    batch = clips.batch(6)
    plain = clips.method(model__noised=False)  # at t = 0, so that the noise is all that is random
    value, aux = jax.jit(plain.loss)(variables, KEY, batch)
    scale = float(aux.metrics["logit_scale"])
    np.testing.assert_allclose(scale, 1 / 0.07, rtol=1e-5)

    x_0 = batch["image"] / np.float32(127.5) - 1
    alpha_bar = np.cos((1 / 20 + 0.008) / 1.008 * np.pi / 2) ** 2 / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    x_t = np.sqrt(alpha_bar) * x_0 + np.sqrt(1 - alpha_bar) * batch["noise"]
    cond = {"clip_tokens": batch["cond"]["tokens"], "clip_mask": batch["cond"]["mask"]}
    z_text, log_prob = jax.jit(method.guides.embed)(variables, cond)["clip_text"], jax.jit(method.guides.log_prob)

    def pair(j):
        return log_prob(variables, x_t.astype(np.float32), jnp.zeros(6), {"clip_text": z_text[j]})

    logits = np.stack([pair(np.full(6, j)) for j in range(6)], 1)  # [image, text]
    names = [*"abcdee"]
    np.testing.assert_allclose(value, plainly(logits / scale, np.eye(6), scale, names).mean(), rtol=1e-4)

    scores = jax.jit(method.scores)(variables, KEY, batch)
    assert {name: figure.shape for name, figure in scores.items()} == dict.fromkeys(
        ("loss", "accuracy", "accuracy_clean"), (6,)
    )
    plain_scores = jax.jit(plain.scores)(variables, KEY, batch)
    assert plain_scores["accuracy"].tolist() == plain_scores["accuracy_clean"].tolist()
    assert (scores["loss"] != plain_scores["loss"]).any()


def test_captions_are_read_once_per_call_and_guide_alike(noised):
    method, variables = noised
    batch = clips.batch(4)
    x, t = batch["noise"], np.arange(4, dtype=np.float32)
    cond = {"clip_tokens": batch["cond"]["tokens"], "clip_mask": batch["cond"]["mask"], "label": np.arange(4)}

    @jax.jit
    def embed(variables):
        embedded = method.guides.embed(variables, cond)
        assert embedded["clip_text"].shape == (4, 8)
        assert embedded["label"] is cond["label"]
        assert method.guides.embed(variables, embedded) is embedded
        return embedded

    embedded = embed(variables)
    log_prob, plain = jax.jit(method.guides.log_prob), jax.jit(clips.method(model__noised=False).guides.log_prob)
    found = log_prob(variables, x, t, embedded)
    assert found.shape == (4,)
    np.testing.assert_allclose(found, log_prob(variables, x, t, cond), rtol=1e-6)
    assert (found != log_prob(variables, x, t + 1, embedded)).all(), "the timestep is seen"
    clean = log_prob(variables, x, np.zeros(4, np.float32), embedded)
    np.testing.assert_allclose(plain(variables, x, t, embedded), clean, rtol=1e-6)


# The loss and its gradient on one device and, two rows on each, on eight; prints both as JSON.
EIGHT = """
import json
import jax
from glowdiff.config.sections import MeshConfig
from glowdiff.sharding import batch_sharding, make_mesh, put_batch, replicated
from tests.diffusion import clips

method = clips.method(dtype="float64")
batch = {name: value for name, value in clips.batch(16).items() if name not in ("index", "mask")}
variables = jax.device_get(jax.jit(method.init)(jax.random.key(0), batch))
gradient = jax.value_and_grad(lambda variables, batch: method.loss(variables, jax.random.key(0), batch)[0])
found = []
for data, fsdp in ((1, 1), (2, 4)):
    mesh = make_mesh(MeshConfig(data, fsdp), jax.devices()[: data * fsdp])
    run = jax.jit(gradient, in_shardings=(replicated(mesh), batch_sharding(mesh)), out_shardings=replicated(mesh))
    found.append([float(abs(leaf).sum()) for leaf in jax.tree.leaves(run(variables, put_batch(batch, mesh)))])
print(json.dumps(found))
"""


def test_negatives_come_from_all_devices():
    result = small.command("-c", EIGHT, JAX_ENABLE_X64="1", **small.with_devices(8))
    assert result.returncode == 0, result.stderr
    one, eight = json.loads(result.stdout)
    assert len(one) > 30
    np.testing.assert_allclose(eight, one, rtol=1e-9)


REFUSED = {
    "model.network.heads is 3, which does not divide model.network.width=16": {"model__network__heads": 3},
    "model.text.heads is 5, which does not divide model.text.width=16": {"model__text__heads": 5},
    "model.network.embedding is 0; it must be at least 1": {"model__network__embedding": 0},
    "model.process.timesteps is 1; it must be at least 2": {"model__process__timesteps": 1},
    "model.process.schedule is 'sine'; it must be one of": {"model__process__schedule": "sine"},
    "model.text.tokenizer is 'bytes'; it must be one of bpe, gpt2, clip": {"model__text__tokenizer": "bytes"},
    "train.accumulate is 2, but CLIP compares all images and captions of a batch": {
        "train__batch": 8, "train__accumulate": 2
    },
    "sampling.steps is '4', on which the samples of this model do not depend": {"sampling__steps": "4"},
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_impossible_configurations(message):
    with pytest.raises(ConfigError) as error:
        clips.config(**REFUSED[message])
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("message", "shape", "captions"),
    [
        ("CLIP learns from captions, but digits has none; try data.name=openmoji", (8, 8, 3), False),
        ("images of digits are 8x12 pixels, but CLIP takes square ones", (8, 12, 3), True),
        ("images of digits have 1 channel, but CLIP takes colour images of 3", (8, 8, 1), True),
        ("model.network.patch is 4, which does not divide the 10 pixels of a side of digits", (10, 10, 3), True),
    ],
)
def test_data_that_it_cannot_learn_from(message, shape, captions):
    with pytest.raises(ConfigError) as error:
        build_method(clips.config(), DataSpec("digits", shape, 256, 1, 1, captions=captions))
    assert message in str(error.value)


def test_a_model_that_reads_no_captions_is_guided_by_them(cascaded):
    clip, spec = glowdiff.load(cascaded.clip), dataclasses.replace(small.COLOURS, classes=("a", "b"))
    model = small.untrained(small.diffusion_config(), spec)
    choices = {"guides": [(clip, 50.0)], "label": "none"}
    one, other = (model.sample(KEY, 2, prompt=prompt, **choices) for prompt in small.CAPTIONS[:2])
    assert (one != other).any()


def test_a_guide_of_other_noise_is_told_apart():
    noise = small.diffusion_config(model__process__timesteps=30).model.process
    assert noise.difference(clips.config().model.process) == "model.process.timesteps is 30 and the guide's is 20"
    assert noise.difference(clips.config(model__process__timesteps=30).model.process) is None
