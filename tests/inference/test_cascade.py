"""`glowdiff.load_cascade`: one program of all stages, the images of each by hand, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest

import glowdiff
from glowdiff.errors import ConfigError
from glowdiff.inference.cascade import CascadeOptions, stage_keys
from glowdiff.inference.guide import as_guide
from tests import small

KEY = jax.random.key(0)
PROMPTS = list(small.CAPTIONS[:2])


@pytest.fixture(scope="module")
def cascade(cascaded) -> glowdiff.Cascade:
    return glowdiff.load_cascade(cascaded.base, cascaded.upsampler)


@pytest.fixture(scope="module")
def clip(cascaded) -> glowdiff.Model:
    return glowdiff.load(cascaded.clip)


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> glowdiff.Model:
    """Draws small gray images of a class."""
    folder = tmp_path_factory.mktemp("digits")
    return glowdiff.load(small.untrained_workdir(folder, small.diffusion_config(), small.DIGITS))


def test_images_are_those_drawn_by_hand(cascade):
    its_own = {"temperature": 0.9}
    images = cascade.sample(KEY, PROMPTS, guidance_scale=2.0, upsampler=its_own)
    assert (images.shape, images.dtype) == ((2, 16, 16, 3), np.uint8)
    small_ones = cascade.base.sample(KEY, 2, prompt=PROMPTS, guidance_scale=2.0)
    keys = stage_keys(KEY, 2, 1)
    by_hand = cascade.upsamplers[0].sample(keys, 2, prompt=PROMPTS, low_res=small_ones, **its_own)
    assert np.abs(images.astype(int) - by_hand).max() <= 1
    # Its noise is not the base's.
    other = cascade.upsamplers[0].sample(KEY, 2, prompt=PROMPTS, low_res=small_ones, **its_own)
    assert np.abs(images.astype(int) - other).max() > 1


def test_an_image_depends_on_its_number_alone(cascade):
    several = cascade.sample(KEY, PROMPTS[0], 3).astype(int)
    assert len(np.unique(several.reshape(3, -1), axis=0)) == 3
    np.testing.assert_allclose(cascade.sample(KEY, PROMPTS[0], 3, batch=2), several, atol=1)


def test_no_number_and_no_prompt_compiles_anything(cascade, clip):
    image, mask = np.full((8, 8, 3), 9, np.uint8), np.eye(8)

    def draw(prompt=PROMPTS, *, mask=mask, temperature=0.9, scale=2.0, **choices):
        return cascade.sample(
            KEY,
            prompt,
            image=image,
            mask=mask,
            guides=[(clip, scale)],
            upsampler={"temperature": temperature},
            **choices,
        )

    first = draw()
    with small.compilations() as compiled:
        others = [
            draw(["a blue circle", PROMPTS[1]]),
            draw(guidance_scale=5),
            draw(scale=9.0),
            draw(mask=1 - mask),
            draw(temperature=0.5),
            draw(temperature=np.float64(0.5)),
        ]
    assert compiled == []
    for number, other in enumerate(others):
        assert (other != first).any(), number


def test_every_stage_reads_the_prompt_and_has_its_own_choices(cascade):
    def drawn(**choices) -> np.ndarray:
        return cascade.sample(KEY, PROMPTS, **{"upsampler": {}, **choices})

    assert (drawn(upsampler={"prompt": PROMPTS[::-1]}) != drawn()).any()
    assert (drawn(temperature=0.0) != drawn()).any()
    assert (drawn(upsampler={"temperature": 0.0}) != drawn()).any()
    np.testing.assert_array_equal(drawn(upsampler=[{"steps": 4}]), drawn())


# ---- What is compiled.


@pytest.fixture(scope="module")
def program(cascade, clip) -> Any:
    """Of a cascade with classifier-free and CLIP guidance, traced."""
    stages = (cascade.base, *cascade.upsamplers)
    captions = {"tokens": jax.ShapeDtypeStruct((2, 32), np.int32), "mask": jax.ShapeDtypeStruct((2, 32), np.bool_)}
    prefixes = ("0/", "0/negative_", "1/", "0/clip_")
    cond = {f"{prefix}{name}": shape for prefix in prefixes for name, shape in captions.items()}
    guide = as_guide(clip, 2.0, stages[0])
    options = dataclasses.replace(stages[0].config.sampling, guidance_scale=3.0, guides=(guide,))
    options = CascadeOptions(**vars(options), upsamplers=(dataclasses.replace(stages[1].config.sampling, steps="3"),))
    return cascade.drawer.program.trace(
        *cascade.drawer.arguments(cascade.variables, cond=cond, options=options), size=2
    )


def equations(jaxpr: Any, loops: int = 0) -> Iterator[tuple[Any, int]]:
    """All equations, and in how many loops each is."""
    for equation in jaxpr.eqns:
        yield equation, loops
        inside = loops + (equation.primitive.name in ("scan", "while"))
        for value in jax.tree.leaves(equation.params, is_leaf=lambda leaf: hasattr(leaf, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner, inside)


def test_captions_are_read_once_in_front_of_all_steps(program):
    """Tokens are looked up in the table of embeddings: where, and how often, is where text is encoded.

    The base's prompts and negative prompts are one doubled batch.
    """
    table = small.TINY_TEXT["model.text.vocab_size"], small.TINY_TEXT["model.text.width"]
    found = Counter(
        loops
        for equation, loops in equations(program.jaxpr.jaxpr)
        if equation.primitive.name == "gather" and equation.invars[0].aval.shape == table
    )
    assert found == {0: 3}, "once for the base, the upsampler and CLIP each"
    lengths = [
        equation.params["length"]
        for equation, loops in equations(program.jaxpr.jaxpr)
        if equation.primitive.name == "scan" and not loops
    ]
    assert [length for length in lengths if length > 1] == [4, 3], "one loop for each stage; texts have one layer"


def test_nothing_leaves_the_device_between_the_stages(program):
    names = {equation.primitive.name for equation, _ in equations(program.jaxpr.jaxpr)}
    assert {name for name in names if "callback" in name or "infeed" in name or "outfeed" in name} == set()
    text = program.lower().compile().as_text()
    assert "while(" in text
    assert re.findall(r"\b(?:infeed|outfeed|send|recv|\w*callback\w*)\(", text) == []
    assert re.findall(r'custom_call_target="[^"]*(?:callback|host)[^"]*"', text, re.IGNORECASE) == []


# ---- Devices.

EIGHT = """
import json, sys
import jax, numpy as np
import glowdiff
found = {}
for count in (1, 8):
    cascade = glowdiff.load_cascade(*sys.argv[1:], devices=jax.devices()[:count])
    prompts = ["a red heart", "flag of Japan"] * 4
    found[count] = cascade.sample(jax.random.key(0), prompts).astype(int)
print(json.dumps([int(np.abs(found[1] - found[8]).max()), len(np.unique(found[8].reshape(8, -1), axis=0))]))
"""


def test_eight_devices_draw_the_images_of_one(cascaded):
    result = small.command("-c", EIGHT, str(cascaded.base), str(cascaded.upsampler), **small.with_devices(8))
    assert result.returncode == 0, result.stderr
    worst, different = json.loads(result.stdout)
    assert worst <= 1
    assert different == 8


# ---- Other bases, and what does not fit.


def test_a_base_may_be_any_model_that_draws(cascade, tmp_path):
    unconditional = small.text_config(
        model__text__name="none", model__caption_dropout=0.0, sampling__guidance_scale=None
    )
    base = glowdiff.load(small.untrained_workdir(tmp_path / "base", unconditional, small.COLOURS))
    other = glowdiff.Cascade(base, *cascade.upsamplers)
    images = other.sample(KEY, n=2)
    assert images.shape == (2, 16, 16, 3)
    assert (other.sample(KEY, PROMPTS) != images).any(), "the upsampler reads the prompt"


def test_labels_are_given_to_all_stages_that_take_one(digits, tmp_path):
    spec = dataclasses.replace(digits.spec, shape=(16, 16, 1))
    config = small.diffusion_config(model__low_res=8, model__label_dropout=0.0)
    upsampler = glowdiff.load(small.untrained_workdir(tmp_path / "up", config, spec))
    cascade = glowdiff.Cascade(digits, upsampler)
    drawn = cascade.draw(KEY, n=2, label=3)
    assert drawn.images.shape == (2, 16, 16, 1)
    assert drawn.labels is not None
    assert drawn.labels.tolist() == [3, 3]
    with pytest.raises(ConfigError, match="label is 'none'; it must be a number from 0 to 9"):
        cascade.sample(KEY, n=2, label="none")
    with pytest.raises(ConfigError, match=r"no stage of this cascade reads captions \(model.text.name is none\)"):
        cascade.sample(KEY, "a red heart")


def test_stages_that_do_not_fit_are_refused(cascade, clip, digits):
    base, (upsampler,) = cascade.base, cascade.upsamplers
    for stages, message in (
        ((base,), "a cascade needs an upsampler"),
        ((base, base), r"the upsampler is no super-resolution model: it is given no small image"),
        ((upsampler, upsampler), "the base enlarges images itself"),
        ((clip, upsampler), "the base is of method clip, which draws no samples"),
        ((base, upsampler, upsampler), "upsampler 2 enlarges images of 8x8x3 with 256 levels; those drawn"),
        ((digits, upsampler), "those drawn before it are 8x8x1 with 17 levels"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            glowdiff.Cascade(*stages)


REFUSED = {
    "frames is given for the base; a cascade draws no films": {"frames": 3},
    "low_res is given for the upsampler; it is what the stage before draws": {"upsampler": {"low_res": 3}},
    "step is given, but this model takes no such thing. Did you mean steps?": {"upsampler": {"step": 3}},
    "upsampler gives choices for 2 upsamplers, but this cascade has 1": {"upsampler": [{}, {}]},
    "prompt holds 2 captions for 3 images": {"n": 3},
    "guidance_scale is 2.0, but this model has never been without captions": {"upsampler": {"guidance_scale": 2.0}},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_is_refused(cascade, message):
    with pytest.raises(ConfigError) as error:
        cascade.sample(KEY, PROMPTS, **REFUSED[message])
    assert message in str(error.value)


def test_a_long_prompt_is_refused(cascade):
    with pytest.raises(ConfigError, match="but the model reads 32"):
        cascade.sample(KEY, "heart " * 40)
