"""The published noise-aware CLIP, through our importer and our module, computes what the original computes."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from glowdiff import importers
from glowdiff.errors import ConfigError
from glowdiff.importers.clip import CLIP as FAMILY
from glowdiff.importers.clip import parse
from glowdiff.importers.mapping import WeightsError
from glowdiff.networks.clip import CLIP
from tests.importers.golden import check, load_clip, released

RELEASED = {name: released()[f"glide_clip_{name}_enc"] for name in ("text", "image")}


def test_embeddings_and_guidance():
    arrays, flags, weights = load_clip()
    module, variables = importers.clip(weights["text"], weights["image"], flags)
    tokens = arrays["in_tokens"].astype(np.int32)
    mask = np.arange(tokens.shape[1])[None] < arrays["in_lens"][:, None]
    t = arrays["in_t"].astype(np.float32)

    def agreement(x, z_text):
        z_image = module.apply(variables, x, t, method=CLIP.image)
        return (module.apply(variables, method=CLIP.scale) * z_text * z_image).sum(), z_image

    with jax.default_matmul_precision("highest"):
        z_text = jax.jit(lambda *args: module.apply(variables, *args, method=CLIP.text))(tokens, mask)
        gradient, z_image = jax.jit(jax.grad(agreement, has_aux=True))(arrays["in_x"], z_text)
    np.testing.assert_allclose(z_text, arrays["out_z_text"], atol=1e-6, rtol=0)
    np.testing.assert_allclose(z_image, arrays["out_z_image"], atol=1e-6, rtol=0)
    np.testing.assert_allclose(gradient, arrays["out_cond_grad"], atol=1e-6, rtol=0)


def shapes(tower: str) -> dict[str, tuple[int, ...]]:
    return {key: tuple(shape) for key, shape in RELEASED[tower]["manifest"].items()}


def check_towers(text, image):
    return check(FAMILY, {}, text_weights=text, image_weights=image)


def test_every_weight_of_the_release_has_its_place():
    _, variables = check_towers(shapes("text"), shapes("image"))
    for tower in ("text", "image"):
        count = sum(leaf.size for leaf in jax.tree.leaves(variables["params"][f"{tower}_tower"]))
        assert count == RELEASED[tower]["parameters"]


def test_wrong_weights_are_named():
    text, image = shapes("text"), shapes("image")
    with pytest.raises(WeightsError, match=r"The text encoder: .* Missing: blocks\.input\.w_voc"):
        check_towers(image, text)
    with pytest.raises(WeightsError, match=r"The image encoder: .* Not expected: blocks\.input\.w_x"):
        check_towers(text, image | {"blocks.input.w_x": (3,)})
    message = r"The image encoder: .*blocks\.input\.w_t: \(999, 768\), where the flags ask for \(1000, 768\)"
    with pytest.raises(WeightsError, match=message):
        check_towers(text, image | {"blocks.input.w_t": (999, 768)})
    with pytest.raises(WeightsError, match=r"Shapes that no flags ask for: .*block_0\.f_mlp\.f_1\.w: \(2048,\)"):
        check_towers(text | {"blocks.block_0.f_mlp.f_1.w": (2048,)}, image)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"patch": 4}, r"--flags has patch, which the original does not know .*\. Did you mean patch_size\?"),
        ({"n_vocab": "many"}, r"--flags has n_vocab=many; it must be of type int"),
        ({"n_timesteps": 0}, r"--flags has n_timesteps=0; it must be positive"),
        ({"patch_size": 5}, r"--flags has patch_size=5, which does not divide image_size=64"),
        ({"logit_scale": 200}, r"--flags has logit_scale=200\.0; it is at most 100"),
    ],
)
def test_impossible_flags(values, message):
    with pytest.raises(ConfigError, match=message):
        parse(values)
