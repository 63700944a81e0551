"""Images of any size and number of channels: a flow takes them, or says before compiling which sizes it takes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glowdiff.catalog.methods import build_method
from glowdiff.catalog.parse import defaults, parse
from glowdiff.config.options import SampleOptions
from glowdiff.errors import ConfigError
from glowdiff.spec import DataSpec

SMALL = {
    "glow": {"depth": 1, "width": 3, "unroll": 1},
    "realnvp": {"depth": 1, "width": 3, "blocks": 1, "unroll": 1},
    "nice": {"depth": 2, "hidden_layers": 1, "width": 5},
}


def build(name, shape, **model):
    config = defaults(name)
    config.model.update(init_images=8, **SMALL[name], **model)
    spec = DataSpec("toy", shape, 256, 100, 10)
    return build_method(parse(config), spec)


@pytest.mark.parametrize(
    ("name", "shape", "model"),
    [
        ("glow", (6, 10, 4), {"levels": 1}),
        ("glow", (4, 12, 1), {"levels": 2}),
        ("realnvp", (5, 7, 4), {"levels": 1}),
        ("realnvp", (6, 10, 1), {"levels": 2}),
        ("nice", (5, 7, 1), {}),
        ("nice", (3, 4, 4), {}),
    ],
)
def test_it_takes(name, shape, model):
    method = build(name, shape, **model)
    image = jax.random.randint(jax.random.key(0), (8, *shape), 0, 256).astype(jnp.uint8)
    batch = {"image": image, "cond": {}}

    @jax.jit
    def there_and_back(key):
        variables = method.init(key, batch)
        latents = method.draws.encode(variables, key, batch, SampleOptions())
        drawn = method.draws.sample(variables, key, method.draws.latents(key, 8), {}, SampleOptions())
        return method.draws.sample(variables, key, latents, {}, SampleOptions()).images, drawn.images

    back, drawn = there_and_back(jax.random.key(1))
    np.testing.assert_array_equal(back, image)
    assert drawn.shape == image.shape


@pytest.mark.parametrize(
    ("name", "shape", "model", "message"),
    [
        ("glow", (5, 8, 3), {"levels": 1}, "height 5, which model.levels=1 cannot halve 1 times.*work are 4 or 6"),
        ("glow", (8, 12, 3), {"levels": 3}, "width 12.*are 8 or 16, and model.levels=2 works as it is"),
        ("realnvp", (8, 9, 3), {"levels": 2}, "width 9.*cannot halve 1 times.*are 8 or 10, and model.levels=1 works"),
        ("realnvp", (24, 36, 3), {"levels": 5}, "height 24.*are 16 or 32, and model.levels=3 works as it is"),
        ("nice", (1, 1, 1), {}, "single numbers, which NICE cannot halve"),
    ],
)
def test_it_says_what_it_takes(name, shape, model, message):
    with pytest.raises(ConfigError, match=message):
        build(name, shape, **model)
