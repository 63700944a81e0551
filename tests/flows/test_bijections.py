"""Every bijection inverts itself, and its log-determinant is that of its Jacobian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from glowdiff.flows.bijections.actnorm import ActNorm
from glowdiff.flows.bijections.batchnorm import BatchNorm
from glowdiff.flows.bijections.couplings import Coupling
from glowdiff.flows.bijections.logit import Logit
from glowdiff.flows.bijections.masked import checkerboard
from glowdiff.flows.bijections.permutations import Permutations, decompose, invert, log_abs_det, mix
from glowdiff.flows.bijections.priors import SplitPrior, TopPrior
from glowdiff.flows.bijections.squeeze import squeeze, squeeze_ordered, unsqueeze, unsqueeze_ordered
from glowdiff.flows.glow import FlowLevel
from glowdiff.flows.nets import Conv3x3, CouplingNet
from glowdiff.flows.nice import NICE
from glowdiff.flows.realnvp import CouplingGroup, CouplingStep

SHAPE = (2, 2, 4)  # height, width, channels


class Whitening(nn.Module):
    """A prior as a bijection of one argument, its context fixed."""

    prior: nn.Module

    def __call__(self, x, inverse=False):
        if isinstance(self.prior, SplitPrior):
            return self.prior(jnp.full_like(x, 0.3), x, inverse)
        return self.prior(x, jnp.arange(x.shape[0]) % 3, inverse)


class Masked(nn.Module):
    """Batch normalisation of the white squares."""

    norm: nn.Module

    def __call__(self, x, inverse=False):
        return self.norm(x, inverse, mask=checkerboard(x.shape[1], x.shape[2], 1))


class OneMixing(nn.Module):
    """A step's mixing of channels."""

    mixings: Permutations

    def __call__(self, x, inverse=False):
        mixings, logdet = self.mixings(x.shape[-1], inverse)
        pixels = x.shape[1] * x.shape[2]
        return mix(x, None if mixings is None else mixings[0]), jnp.full(x.shape[:1], logdet[0] * pixels)


class OneCoupling(nn.Module):
    """A coupling of RealNVP, its parity fixed."""

    step: nn.Module
    parity: int

    def __call__(self, x, inverse=False):
        return self.step(x, self.parity, inverse)


class FromLogits(nn.Module):
    """The logit the other way round, so that every number is in its domain."""

    def __call__(self, x, inverse=False):
        return Logit()(x, not inverse)


class Rows(nn.Module):
    """NICE between its dequantisation and its prior, on images."""

    nice: nn.Module

    def __call__(self, x, inverse=False):
        y, logdet = self.nice.flow(x.reshape(x.shape[0], -1), inverse)
        return y.reshape(x.shape), logdet


def one_mixing(kind, **settings):
    return OneMixing(Permutations(kind, 1, **settings))


def coupling_step(dtype, kind, batch_norm=True):
    return CouplingStep(kind, width=3, blocks=1, batch_norm=batch_norm, dtype=dtype, param_dtype=dtype)


def group(dtype, kind, **changes):
    settings = {"batch_norm": True, "unroll": 1, "memory": "plain"} | changes
    return CouplingGroup(kind, depth=2, width=3, blocks=1, dtype=dtype, param_dtype=dtype, **settings)


def level(dtype, **changes):
    settings = {"permutation": "conv", "lu": False, "coupling": "affine", "unroll": 1, "memory": "plain"} | changes
    return FlowLevel(depth=3, width=5, dtype=dtype, param_dtype=dtype, **settings)


# Name -> constructor, given the dtype of arithmetic and parameters.
BIJECTIONS = {
    "actnorm": lambda dtype: ActNorm(param_dtype=dtype),
    "reverse": lambda dtype: one_mixing("reverse", param_dtype=dtype),
    "shuffle": lambda dtype: one_mixing("shuffle", param_dtype=dtype),
    "conv": lambda dtype: one_mixing("conv", param_dtype=dtype),
    "conv_lu": lambda dtype: one_mixing("conv", lu=True, param_dtype=dtype),
    "additive": lambda dtype: Coupling("additive", CouplingNet(1, 5, dtype, dtype)),
    "affine": lambda dtype: Coupling("affine", CouplingNet(2, 5, dtype, dtype)),
    "split_prior": lambda dtype: Whitening(SplitPrior(dtype)),
    "top_prior": lambda dtype: Whitening(TopPrior(True, 3, dtype)),
    "batch_norm": lambda dtype: BatchNorm(dtype),
    "batch_norm_masked": lambda dtype: Masked(BatchNorm(dtype)),
    "logit": lambda dtype: FromLogits(),
    "checkerboard": lambda dtype: OneCoupling(coupling_step(dtype, "checkerboard"), 0),
    "checkerboard_odd": lambda dtype: OneCoupling(coupling_step(dtype, "checkerboard", batch_norm=False), 1),
    "channel": lambda dtype: OneCoupling(coupling_step(dtype, "channel"), 0),
    "channel_odd": lambda dtype: OneCoupling(coupling_step(dtype, "channel"), 1),
    "group": lambda dtype: group(dtype, "checkerboard", memory="remat"),
    "group_reversible": lambda dtype: group(dtype, "channel", memory="reversible"),
    "nice": lambda dtype: Rows(NICE(SHAPE, depth=3, hidden_layers=1, width=5, dtype=dtype, param_dtype=dtype)),
    "level": level,
    "level_lu": lambda dtype: level(dtype, lu=True, unroll=2),
    "level_shuffle_additive": lambda dtype: level(dtype, permutation="shuffle", coupling="additive"),
    "level_reversible": lambda dtype: level(dtype, memory="reversible"),
    "level_reverse_remat": lambda dtype: level(dtype, permutation="reverse", memory="remat"),
}


@pytest.fixture(scope="module", params=["float32", "float64"])
def dtype(request):
    with jax.enable_x64(request.param == "float64"):
        yield jnp.dtype(request.param)


@pytest.fixture(scope="module", params=BIJECTIONS)
def bijection(request, dtype):
    layer = BIJECTIONS[request.param](dtype)
    x = jax.random.normal(jax.random.key(1), (4, *SHAPE), dtype)
    variables = jax.jit(layer.init)(jax.random.key(2), x)
    # As if trained: zero-initialised layers and orthogonal matrices would make the test too easy.
    noise = iter(jax.random.split(jax.random.key(3), 100))
    params = jax.tree.map(lambda p: p + 0.03 * jax.random.normal(next(noise), p.shape, p.dtype), variables["params"]) \
        if "params" in variables else {}  # fmt: skip
    return layer, {**variables, "params": params}, x


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
def test_inverse(bijection, jit):
    layer, variables, x = bijection
    forward, backward = (lambda x: layer.apply(variables, x)), (lambda y: layer.apply(variables, y, inverse=True))
    if jit:
        forward, backward = jax.jit(forward), jax.jit(backward)
    y, logdet = forward(x)
    back, inverse_logdet = backward(y)
    assert y.dtype == back.dtype == x.dtype
    np.testing.assert_allclose(back, x, atol=1e-5, rtol=0)
    np.testing.assert_allclose(inverse_logdet, -logdet, atol=1e-4, rtol=0)


@pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])
def test_logdet_is_that_of_the_jacobian(bijection, inverse):
    layer, variables, x = bijection
    if inverse:
        x = layer.apply(variables, x)[0]  # a bijection need not take every number

    @jax.jit
    def jacobian_logdet(example, row):
        def flat(v):
            # The other rows stay, so that a context that depends on the row stays too.
            batch = x.at[row].set(v.reshape(SHAPE))
            return layer.apply(variables, batch, inverse=inverse)[0][row].ravel()

        return jnp.linalg.slogdet(jax.jacobian(flat)(example.ravel()))[1]

    logdet = layer.apply(variables, x, inverse=inverse)[1]
    expected = jnp.stack([jacobian_logdet(x[row], row) for row in range(2)])
    np.testing.assert_allclose(logdet[:2], expected, atol=1e-4, rtol=0)


def test_actnorm_normalises_the_batch_that_initialises_it():
    x = 3 + 5 * jax.random.normal(jax.random.key(0), (64, *SHAPE))
    y, _ = ActNorm().init_with_output(jax.random.key(0), x)[0]
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std((0, 1, 2)), 1, atol=1e-4)


def test_lu_form_is_the_same_convolution():
    x = jax.random.normal(jax.random.key(1), (2, *SHAPE))
    plain, lu = one_mixing("conv"), one_mixing("conv", lu=True)
    kernel = jax.random.normal(jax.random.key(0), (1, 4, 4))
    parts = decompose(kernel)
    constants = {name: parts.pop(name) for name in ("sign", "permutation")}
    as_lu = {"params": {"mixings": parts}, "constants": {"mixings": constants}}
    as_plain = {"params": {"mixings": {"kernel": kernel}}}
    for inverse in (False, True):
        ours, logdet = lu.apply(as_lu, x, inverse=inverse)
        expected, expected_logdet = plain.apply(as_plain, x, inverse=inverse)
        np.testing.assert_allclose(ours, expected, atol=1e-4)
        np.testing.assert_allclose(logdet, expected_logdet, atol=1e-4)


def test_log_abs_det_and_its_gradient_are_linalgs():
    kernel = jax.random.normal(jax.random.key(0), (3, 5, 5))
    np.testing.assert_allclose(log_abs_det(kernel), jnp.linalg.slogdet(kernel)[1], atol=1e-5)
    ours = jax.grad(lambda w: (log_abs_det(w) ** 2).sum())(kernel)
    np.testing.assert_allclose(ours, jax.grad(lambda w: (jnp.linalg.slogdet(w)[1] ** 2).sum())(kernel), rtol=1e-3)
    inverse, _ = invert(kernel)
    np.testing.assert_allclose(inverse @ kernel, jnp.broadcast_to(jnp.eye(5), kernel.shape), atol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 4), (3, 5), (6, 7)])
def test_edge_bias_is_that_of_a_channel_on_the_padding_ring(size):
    height, width = size
    x = jax.random.normal(jax.random.key(0), (2, height, width, 2))
    conv = Conv3x3(4)
    variables = conv.init(jax.random.key(1), x)

    def literal(params):
        ring = jnp.pad(jnp.zeros((2, height, width, 1)), ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=1)
        padded = jnp.concatenate([jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), ring], axis=-1)
        kernel = jnp.concatenate([params["kernel"], params["edge"]["kernel"]], axis=2)
        return jax.lax.conv_general_dilated(padded, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def ours(params):
        return conv.apply({"params": params}, x)

    np.testing.assert_allclose(ours(variables["params"]), literal(variables["params"]), atol=1e-5)
    found, expected = (jax.grad(lambda p, f=f: (f(p) ** 3).sum())(variables["params"]) for f in (ours, literal))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-4), found, expected)


def test_squeeze_order_and_inverse():
    x = jnp.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    y = squeeze(x)
    assert y.shape == (2, 2, 3, 12)
    for c, dh, dw in ((0, 0, 0), (2, 1, 0), (1, 0, 1)):
        np.testing.assert_array_equal(y[:, 1, 2, 4 * c + 2 * dh + dw], x[:, 2 + dh, 4 + dw, c])
    np.testing.assert_array_equal(unsqueeze(y), x)


def test_ordered_squeeze_halves_into_the_colours_of_a_checkerboard():
    x = jnp.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    y = squeeze_ordered(x)
    for offset, (dh, dw) in enumerate(((0, 0), (1, 1), (0, 1), (1, 0))):
        np.testing.assert_array_equal(y[..., 3 * offset : 3 * offset + 3], x[:, dh::2, dw::2])
    np.testing.assert_array_equal(unsqueeze_ordered(y), x)


@pytest.mark.parametrize("shape", [(3, 5, 1), (1, 1, 3), (2, 2, 1)])
def test_nice_takes_any_number_of_entries(shape):
    x = jax.random.normal(jax.random.key(0), (5, *shape))
    layer = Rows(NICE(shape, depth=3, hidden_layers=1, width=4))
    variables = layer.init(jax.random.key(1), x)
    moved = jax.tree.map(lambda p: p + 0.1, variables["params"])
    y, _ = layer.apply({"params": moved}, x)
    np.testing.assert_allclose(layer.apply({"params": moved}, y, inverse=True)[0], x, atol=1e-5)


def test_a_checkerboard_coupling_takes_odd_sides():
    x = jax.random.normal(jax.random.key(0), (4, 3, 5, 2))
    layer = OneCoupling(coupling_step(jnp.float32, "checkerboard"), 1)
    variables = layer.init(jax.random.key(1), x)
    y, _ = layer.apply(variables, x)
    kept = np.broadcast_to(checkerboard(3, 5, 1), x.shape)
    np.testing.assert_array_equal(y[kept], x[kept])
    assert (np.asarray(y) != np.asarray(x))[~kept].all()
    np.testing.assert_allclose(layer.apply(variables, y, inverse=True)[0], x, atol=1e-5)


def test_batch_norm_in_training_normalises_and_leaves_the_batchs_statistics():
    x = 3 + 2 * jax.random.normal(jax.random.key(0), (64, *SHAPE))
    layer = BatchNorm()
    variables = layer.init(jax.random.key(1), jnp.zeros((1, *SHAPE)))
    (y, logdet), seen = layer.apply(variables, x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.var((0, 1, 2)), 1, atol=1e-3)
    np.testing.assert_allclose(seen["batch_stats"]["mean"], x.mean((0, 1, 2)), rtol=1e-5)
    # In evaluation these statistics are the same map, to be inverted.
    again, logdet_again = layer.apply(seen, x)
    np.testing.assert_allclose(again, y, atol=1e-5)
    np.testing.assert_allclose(logdet_again, logdet, atol=1e-4)
    np.testing.assert_allclose(layer.apply(seen, y, inverse=True)[0], x, atol=1e-5)
