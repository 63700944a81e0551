"""What a trainer of GLIDE's denoiser relies on; tests/importers/test_glide.py shows that it computes what they do."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glowdiff.errors import ConfigError
from glowdiff.networks.resample import resize_to
from glowdiff.networks.text_unet import TextUNet
from glowdiff.networks.unet import UNet
from tests.networks.networks import random_params

UNET = {
    "image_size": 8, "channels": 32, "out_channels": 6, "channel_mult": (1,), "res_blocks": 1, "attention": (8,),
    "head_channels": 16,
}  # fmt: skip
MODULE = TextUNet(**UNET, vocab=11, text_context=5, text_width=16, text_layers=2, text_heads=2)
RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 8, 8, 3), np.float32)
T = np.array([0.0, 10.0, 500.0], np.float32)
COND = {
    "tokens": RNG.integers(0, 11, (3, 5)).astype(np.int32),
    "mask": np.array([[True] * 5, [True, True, False, False, False], [False] * 5]),
}
INPAINT = {"known": RNG.uniform(-1, 1, X.shape).astype(np.float32), "known_mask": np.ones((3, 8, 8, 1), np.float32)}


@pytest.fixture(scope="module")
def variables():
    return {"params": random_params(MODULE, X, T, COND)}


@pytest.fixture(scope="module")
def apply():
    return jax.jit(MODULE.apply)


@pytest.fixture(scope="module")
def encode():
    return jax.jit(partial(MODULE.apply, method="encode_text"))


def test_captions_may_be_encoded_beforehand(variables, apply, encode):
    text = encode(variables, COND["tokens"], COND["mask"])
    assert {name: leaf.shape for name, leaf in text.items()} == {"text_emb": (3, 128), "text": (3, 5, 16)}
    np.testing.assert_allclose(apply(variables, X, T, text), apply(variables, X, T, COND), atol=1e-5)
    traced = str(jax.make_jaxpr(MODULE.apply)(variables, X, T, text))
    assert "erf" not in traced, "the text transformer's GELU, in a call that was given what it returns"
    assert "erf" in str(jax.make_jaxpr(MODULE.apply)(variables, X, T, COND))


def test_tokens_count_where_the_mask_says_so_only(encode, variables):
    other = (COND["tokens"] + 1) % 11
    before, after = (encode(variables, tokens, COND["mask"])["text"] for tokens in (COND["tokens"], other))
    changed = np.abs(before - after).max((1, 2)) > 1e-4
    np.testing.assert_array_equal(changed, [True, True, False])


def test_what_is_padding_is_seen(encode, variables):
    """The original masks nothing in its attention; a context's unused end has learned embeddings."""
    changed = COND["mask"].copy()
    changed[0, -2] = False
    before, after = (encode(variables, COND["tokens"], mask)["text"] for mask in (COND["mask"], changed))
    assert (np.abs(before - after)[0].max(-1) > 1e-5).all()


def test_every_example_has_its_own_caption(variables, apply):
    y = apply(variables, X, T, COND)
    reverse = {name: value[::-1] for name, value in COND.items()}
    np.testing.assert_allclose(apply(variables, X[::-1], T[::-1], reverse), y[::-1], atol=1e-5)
    assert (np.abs(apply(variables, X, T, reverse) - y).max((1, 2, 3)) > 1e-4).tolist() == [True, False, True]


def test_attention_reads_the_text(variables, apply, encode):
    text = encode(variables, COND["tokens"], COND["mask"])
    moved = apply(variables, X, T, text | {"text": text["text"][::-1]})
    assert np.abs(moved - apply(variables, X, T, text))[0].max() > 1e-4


def test_every_parameter_learns_recomputed_or_not(variables):
    """That recomputing changes nothing is tested of the blocks, in test_unet; here it has text to carry along."""

    @jax.jit
    @jax.grad
    def gradient(variables):
        return jnp.square(MODULE.clone(remat=True).apply(variables, X, T, COND, train=True)).mean()

    flat = jax.tree_util.tree_leaves_with_path(gradient(variables))
    assert [jax.tree_util.keystr(path) for path, leaf in flat if not np.any(leaf)] == []


def test_remat_covers_the_text_transformer(variables):
    def traced(remat):
        module = MODULE.clone(remat=remat)
        return str(
            jax.make_jaxpr(lambda tokens: module.apply(variables, tokens, COND["mask"], method="encode_text"))(
                COND["tokens"]
            )
        )

    assert "remat" in traced(True)
    assert "remat" not in traced(False)


def test_bfloat16_is_close_and_keeps_float32_parameters(variables, apply):
    module = MODULE.clone(dtype=jnp.bfloat16)
    shapes = jax.eval_shape(module.init, jax.random.key(0), X, T, COND)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}
    y, exact = jax.jit(module.apply)(variables, X, T, COND), apply(variables, X, T, COND)
    assert y.dtype == jnp.float32
    assert float(jnp.abs(y - exact).max()) < 0.05 * float(jnp.abs(exact).max())


def test_float64_stays_float64():
    with jax.enable_x64(True):
        module = MODULE.clone(dtype=jnp.float64, param_dtype=jnp.float64)
        args = (X.astype(np.float64), T.astype(np.float64), COND)
        y, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), *args)
    assert {leaf.dtype for leaf in jax.tree.leaves((y, variables))} == {jnp.dtype("float64")}


def test_text_adds_parameters_and_renames_none(variables):
    plain = jax.eval_shape(UNet(**UNET).init, jax.random.key(0), X, T, COND)["params"]
    more = {
        jax.tree_util.keystr(path)
        for path, _ in jax.tree_util.tree_leaves_with_path(variables["params"])
        if not jax.tree_util.keystr(path).startswith("['text_encoder']")
    } - {jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(plain)}
    assert more
    assert all("_attention']['encoder_kv']" in path for path in more)


SMALL, KNOWN = (("small", 3),), (("known", 3), ("known_mask", 1))


@pytest.mark.parametrize("beside", [(), SMALL, KNOWN, (*KNOWN, *SMALL)])
def test_the_first_convolution_sees_what_lies_beside_the_image(beside):
    module = UNet(**UNET, beside=beside)
    cond = INPAINT | {"small": X[:, ::2, ::2]}
    kernel = jax.eval_shape(module.init, jax.random.key(0), X, T, cond)["params"]["input_blocks_0"]["kernel"]
    assert kernel.shape[2] == 3 + sum(channels for _, channels in beside)
    seen = module.see(X, cond)
    assert seen.shape == (3, 8, 8, kernel.shape[2])
    np.testing.assert_array_equal(seen[..., :3], X)
    if SMALL[0] in beside:
        np.testing.assert_allclose(seen[..., -3:], resize_to(X[:, ::2, ::2], 8, 8), rtol=1e-6)


def test_unknown_pixels_are_not_seen():
    module = UNet(**UNET, beside=KNOWN)
    mask = (RNG.uniform(size=(3, 8, 8, 1)) < 0.5).astype(np.float32)
    seen = module.see(X, INPAINT | {"known_mask": mask})
    np.testing.assert_array_equal(seen, np.concatenate([X, INPAINT["known"] * mask, mask], -1))


def test_what_is_missing_or_does_not_fit_is_named(variables):
    with pytest.raises(ValueError, match="has captions, so cond must hold 'tokens'; it holds nothing"):
        MODULE.apply(variables, X, T)
    with pytest.raises(ValueError, match=r"tokens has shape \(3, 4\); it must be \[batch, 5\]"):
        MODULE.apply(variables, X, T, {name: value[:, :4] for name, value in COND.items()})
    with pytest.raises(ValueError, match=r"model\.text\.heads is 3, which does not divide model\.text\.width, 16"):
        MODULE.clone(text_heads=3).apply(variables, X, T, COND)
    with pytest.raises(ConfigError, match=r"model\.text\.heads"):
        MODULE.clone(text_heads=0).apply(variables, X, T, COND)
    inpaint = UNet(**UNET, beside=KNOWN)
    with pytest.raises(ValueError, match="has known, so cond must hold 'known_mask'; it holds known"):
        inpaint.see(X, {"known": X})
    with pytest.raises(ValueError, match=r"known_mask \(3, 8, 8, 3\); images .* ask for .* and \(3, 8, 8, 1\)"):
        inpaint.see(X, {"known": X, "known_mask": X})
