"""What scripts pass is checked like a flag: one line that says what it is called, what it is, and what it must be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import glowdiff
from glowdiff.errors import ConfigError
from glowdiff.inference.cascade import stage_keys
from glowdiff.inference.checks import MOST, check_count, seed_key
from glowdiff.inference.request import check
from glowdiff.method import Condition
from tests import small

KEY = jax.random.key(0)
LABEL = Condition("label", (), np.int32, values=10, none=10)
IMAGE = Condition("low_res", (2, 2, 1), np.uint8, values=17, image=True)


@pytest.fixture(scope="module")
def flow(trained) -> glowdiff.Model:
    return glowdiff.load(trained.workdir)


@pytest.fixture(scope="module")
def cascade(cascaded) -> glowdiff.Cascade:
    return glowdiff.load_cascade(cascaded.base, cascaded.upsampler)


def line(call: Any) -> str:
    """What the `ConfigError` of a call says, on its one line."""
    with pytest.raises(ConfigError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("n", [0, -1, 2.5, True, "4", None, [2], np.float32(2), MOST + 1, 10**30])
def test_a_number_of_images_is_a_whole_number_from_one_on(flow, cascade, n):
    assert line(lambda: flow.draw(KEY, n)).startswith("n is ")
    if n is not None:
        assert line(lambda: cascade.draw(KEY, n=n)).startswith("n is ")
        assert line(lambda: flow.draw(KEY, 2, batch=n)).startswith("batch is ")


def test_a_number_of_images_fits_into_memory():
    assert check_count("n", np.int64(3), (8, 8, 3)) == 3
    assert "GiB, and this machine has" in line(lambda: check_count("n", 10**9, (10**6, 10**6, 3)))


KEYS = {
    "a seed": 0,
    "a seed of NumPy": np.int64(3),
    "an old key": jax.random.PRNGKey(0),
    "old keys": jax.random.split(jax.random.PRNGKey(0), 3),
    "nothing": None,
    "text": "0",
    "too few keys": jax.random.split(KEY, 2),
    "too many keys": jax.random.split(KEY, 4),
    "a table of keys": jax.random.split(KEY, 3)[:, None],
}


@pytest.mark.parametrize("name", KEYS)
def test_a_key_is_one_or_one_for_each_image(flow, cascade, name):
    images = np.zeros((1, *flow.spec.shape), np.uint8)
    for call in (
        lambda: flow.draw(KEYS[name], 3),
        lambda: cascade.draw(KEYS[name], n=3),
        lambda: stage_keys(KEYS[name], 3, 1),
        lambda: flow.bits_per_dim(images, key=KEYS[name] if name != "nothing" else 0),
    ):
        assert line(call).startswith("key ")


@pytest.mark.parametrize("seed", [-1, 2**32, 2**64, 1.0, True, "1", None, np.nan])
def test_a_seed_is_a_whole_number_of_32_bits(seed):
    """2^32 would draw what 0 draws."""
    assert line(lambda: seed_key(seed)).startswith("seed is ")
    if seed != "1":  # of a flag it is one
        assert line(lambda: small.replaced(small.glow_config(), seed=seed)).startswith("seed is ")


@pytest.mark.parametrize(
    "label",
    [3.7, np.float32(3), True, np.bool_(1), 10.0, 11, -1, 2**32 + 3, np.int64(2**32 + 3), 2**80, np.nan, "cat", "3",
     b"3", [1, None], [None, None], [[1], [2, 3]], ["none", 3], np.array([1.0, 2.0]), np.array(["1", "2"]), [1, 2, 3],
     [], {}, np.array([1, 2], object), Path("3"), object()],
)  # fmt: skip
def test_a_label_is_a_class_and_nothing_that_could_be_rounded_to_one(label):
    assert line(lambda: check(LABEL, label, 2)).startswith("label ")


@pytest.mark.parametrize("label", [3, np.uint8(3), jnp.int32(3), [3, 3], np.array([3, 3], np.int64)])
def test_a_label_may_be_any_kind_of_whole_number(label):
    np.testing.assert_array_equal(check(LABEL, label, 2), np.array([3, 3], np.int32))


@pytest.mark.parametrize(
    "image",
    ["a.png", Path("a.png"), b"", None, 3.0, [[1], [2, 3]], np.zeros((2, 2, 1)), np.zeros((2, 2, 1), bool),
     np.zeros((3, 2, 1), np.uint8), np.zeros((3, 2, 2, 1), np.uint8), np.full((2, 2, 1), 17), np.full((2, 2, 1), -1),
     np.full((2, 2, 1), np.nan), np.full((2, 2, 1), "a")],
)  # fmt: skip
def test_an_image_is_integers_on_the_levels_in_its_shape(image):
    assert line(lambda: check(IMAGE, image, 2)).startswith("low_res ")


@pytest.mark.parametrize("images", ["a.png", None, [], np.zeros((0, 8, 8, 1), np.uint8), np.full((1, 8, 8, 1), np.nan)])
def test_images_to_encode_are_integers_too(flow, images):
    for call in (flow.encode, flow.bits_per_dim):
        assert line(lambda call=call: call(images)).startswith("images ")


@pytest.mark.parametrize("latents", [None, (), "a", 3, np.zeros((2, 4, 4, 2)), [np.zeros((2, 4, 4, 2))] * 2])
def test_latents_have_the_model_s_shapes(flow, latents):
    assert line(lambda: flow.decode(latents)).startswith("latents are arrays of shapes ")


@pytest.mark.parametrize(
    "prompt",
    [3, b"a heart", Path("a"), {"a": 1}, [None, "a"], ["a", 3], [b"a", b"b"], [["a"], ["b"]], "\ud800", ["a"], []],
)
def test_a_prompt_is_text(cascade, prompt):
    for call in (lambda: cascade.base.draw(KEY, 2, prompt=prompt), lambda: cascade.draw(KEY, prompt, n=2)):
        assert line(call).startswith("prompt ")


@pytest.mark.parametrize("wrong", ["runs/x", Path("runs/x"), None, 3, KEY])
def test_a_model_is_no_path_of_one(cascade, wrong):
    base, (upsampler,) = cascade.base, cascade.upsamplers
    for call in (
        lambda: glowdiff.Cascade(wrong, upsampler),
        lambda: glowdiff.Cascade(base, wrong),
        lambda: glowdiff.Model(wrong),
        lambda: base.draw(KEY, 1, guides=[(wrong, 1.0)]),
        lambda: cascade.draw(KEY, n=1, guides=[(wrong, 1.0)]),
        lambda: cascade.draw(KEY, n=1, upsampler={"guides": [(wrong, 1.0)]}),
    ):
        said = line(call)
        assert "; it must be a model, such as glowdiff.load(" in said
        assert "runs/x" not in str(wrong) or "glowdiff.load('runs/x')" in said


@pytest.mark.parametrize("scale", [np.nan, np.inf, -np.inf, 1e38, 10_001, None, "1", True, [1.0]])
def test_guides_are_pairs_of_a_model_and_a_number(cascaded, cascade, scale):
    clip = glowdiff.load(cascaded.clip)
    for draw in (cascade.base.draw, cascade.draw):
        assert line(lambda draw=draw: draw(KEY, n=1, prompt="a", guides=[(clip, scale)])).startswith(
            "the scale of a clip is"
        )
        for guides in ([clip], clip, "x", None, [(clip,)], {clip: 1.0}):
            assert line(lambda draw=draw, guides=guides: draw(KEY, n=1, guides=guides)).startswith("guides is ")


OPTIONS = {
    "temperature": [np.nan, np.inf, -np.inf, -0.1, 1e9, 10**400, "hot", True, None, np.ones(2), jnp.float32(jnp.nan)],
    "guidance_scale": [np.nan, np.inf, -np.inf, 1e38, -1e38, 10_001, "3", False, [3.0], jnp.float32(jnp.inf)],
    "guidance_from": [np.nan, -0.1, 1.1, "0"],
    "eta": [np.nan, np.inf, 2],
    "percentile": [np.nan, 0, 101],
    "strength": [np.nan, 0, 1.5, "0.5"],
    "frames": [2.5, -1, "3", True, None, np.float32(3)],
    "sampler": [3, None, ["ddim"], b"ddim"],
    "steps": [2.5, True, None, b"4", ["4"], np.nan],
    "threshold": [None, 1],
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_is_of_its_kind_finite_and_within_its_limits(cascade, name):
    for value in OPTIONS[name]:
        for call in (
            lambda value=value: cascade.base.draw(KEY, 1, **{name: value}),
            lambda value=value: cascade.draw(KEY, n=1, upsampler={name: value}),
        ):
            said = line(call)
            assert said.startswith(
                (f"{name} is ", "strength is given", "percentile is ", "eta is ", "guidance_from is ")
            )


@pytest.mark.parametrize("mask", ["m.png", [[1], [2, 3]], np.full((8, 8), np.nan), np.eye(9), np.zeros((8, 8))])
def test_a_mask_is_numbers(cascade, mask):
    image = np.zeros((8, 8, 3), np.uint8)
    assert line(lambda: cascade.base.draw(KEY, 1, image=image, mask=mask)).startswith("mask ")
    assert line(lambda: cascade.base.draw(KEY, 1, image="a.png", mask=np.eye(8))).startswith("image ")


@pytest.mark.parametrize("upsampler", [3, "x", [3], [{}, {}]])
def test_choices_of_upsamplers_are_mappings(cascade, upsampler):
    assert line(lambda: cascade.draw(KEY, n=1, upsampler=upsampler)).startswith("upsampler ")


@pytest.mark.parametrize("choices", [{"step": "2"}, {"step": 2.5}, {"step": True}, {"step": -1}, {"ema": "no"}])
def test_a_checkpoint_is_named_by_a_number(trained, choices):
    assert line(lambda: glowdiff.load(trained.workdir, **choices)).startswith(next(iter(choices)))
    for workdir in (None, 3, "", b"runs"):
        assert line(lambda workdir=workdir: glowdiff.load(workdir)).startswith("a workdir is ")
