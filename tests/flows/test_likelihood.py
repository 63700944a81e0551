"""The densities that the flows compute are densities: they integrate to one over all 2x2 images."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glowdiff.catalog.methods import METHODS
from glowdiff.catalog.parse import defaults, parse
from glowdiff.sharding import Platform
from glowdiff.spec import DataSpec

SPEC = DataSpec("toy", (2, 2, 1), 17, 100, 10)
POINTS = 150_000
MODELS = {
    "glow": {"levels": 1, "depth": 2, "width": 4, "unroll": 1},
    "glow additive": {"levels": 1, "depth": 2, "width": 4, "coupling": "additive", "lu": True, "unroll": 1},
    "realnvp": {"levels": 1, "depth": 2, "width": 3, "blocks": 1, "unroll": 1},
    "realnvp two levels": {"levels": 2, "depth": 2, "width": 3, "blocks": 1, "unroll": 1, "batch_norm": False},
    "nice": {"depth": 3, "hidden_layers": 1, "width": 6},
    "nice normal": {"depth": 3, "hidden_layers": 1, "width": 6, "prior": "normal"},
}


@pytest.fixture(autouse=True)
def double():
    """In float32 some points of the logits' tails would round to the ends of the range."""
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("name", MODELS)
def test_the_likelihood_integrates_to_one(name):
    config = defaults(name.split()[0])
    config.model.update(MODELS[name])
    method = METHODS[config.method].build(parse(config).model, SPEC, "float64", platform=Platform("cpu"))
    keys = jax.random.split(jax.random.key(0), 4)
    image = jax.random.randint(keys[0], (64, *SPEC.shape), 0, 17).astype(jnp.uint8)
    variables = jax.jit(method.init)(keys[1], {"image": image, "cond": {}})
    noise = iter(jax.random.split(keys[2], 200))  # as if trained
    moved = jax.tree.map(lambda p: p + 0.05 * jax.random.normal(next(noise), p.shape), variables["params"])
    variables = {**variables, "params": moved}

    @jax.jit
    def log_density(x):
        """Of dequantised images in [0, 1) and around: any number may be the noise in the bin of a 0."""
        batch = {"image": jnp.zeros(x.shape, jnp.uint8), "cond": {}, "noise": x}
        bits = method.bits_per_dim(variables, keys[3], batch)
        return 4 * (math.log(17) - bits * math.log(2))

    x, log_proposal = proposal(config.method, method.draws.unrounded, variables, method.draws.latents(keys[3], 4_000))
    weights = np.exp(np.asarray(log_density(x), np.float64) - log_proposal)
    assert weights.std() / math.sqrt(POINTS) < 0.004  # else the estimate says nothing
    np.testing.assert_allclose(weights.mean(), 1, atol=0.01)


def proposal(method, decode, variables, latents):
    """Points [POINTS, 2, 2, 1] to integrate over, and their log-density under what they come from.

    Independent logistic noise with somewhat more than the mean and covariance of the model's own samples: its tails are
    longer than a Gaussian's. RealNVP's density ends a little beyond the pixels' range, so there the noise is that of
    logits.
    """
    samples = (np.asarray(jax.jit(decode)(variables, latents, {}), np.float64).reshape(-1, 4) + 0.5) / 17
    if method == "realnvp":
        p = np.clip(0.05 + 0.9 * samples, 1e-5, 1 - 1e-5)
        samples = np.log(p) - np.log1p(-p)
    mean, root = samples.mean(0), np.linalg.cholesky(np.cov(samples.T)) * 0.7
    z = np.random.default_rng(0).logistic(size=(POINTS, 4))
    x = mean + z @ root.T
    logp = (-np.logaddexp(0, z) - np.logaddexp(0, -z)).sum(1) - np.log(np.diag(root)).sum()
    if method == "realnvp":
        logp += (np.logaddexp(0, x) + np.logaddexp(0, -x) + np.log(0.9)).sum(1)
        x = (1 / (1 + np.exp(-x)) - 0.05) / 0.9
    return jnp.asarray(x.reshape(-1, 2, 2, 1)), logp
