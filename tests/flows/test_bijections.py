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
from glowdiff.flows.glow import FlowLevel
from glowdiff.flows.nets import CouplingNet
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


def tried(name, dtype, jacobian=False):
    """What a bijection gives forwards and back, in one program, for compiling is what takes its time."""
    layer = BIJECTIONS[name](dtype)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4, *SHAPE)).astype(dtype)

    @jax.jit
    def everything(x):
        variables = layer.init(jax.random.key(2), x)
        # As if trained: zero-initialised layers and orthogonal matrices would make the test too easy.
        params = jax.tree.map(
            lambda p: p + 0.03 * rng.normal(size=p.shape).astype(p.dtype), dict(variables.get("params", {}))
        )
        variables = {**variables, "params": params}

        def jacobian_logdet():
            def flat(v, row):
                # The other rows stay, so that a context that depends on the row stays too.
                batch = x.at[row].set(v.reshape(SHAPE))
                return layer.apply(variables, batch)[0][row].ravel()

            jacobians = jax.vmap(jax.jacobian(flat))(x[:2].reshape(2, -1), jnp.arange(2))
            return jnp.linalg.slogdet(jacobians)[1]

        y, logdet = layer.apply(variables, x)
        # A bijection need not take every number, so the inverse is asked about results.
        back, inverse_logdet = layer.apply(variables, y, inverse=True)
        return variables, (y, logdet), (back, inverse_logdet), jacobian_logdet() if jacobian else None

    return layer, x, everything(x)


def check_inverse(x, forward, backward):
    (y, logdet), (back, inverse_logdet) = forward, backward
    assert y.dtype == back.dtype == x.dtype
    np.testing.assert_allclose(back, x, atol=1e-5, rtol=0)
    np.testing.assert_allclose(inverse_logdet, -logdet, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", BIJECTIONS)
def test_it_inverts_itself_and_its_logdet_is_that_of_the_jacobian(name):
    with jax.enable_x64(True):
        _, x, (_, forward, backward, expected) = tried(name, jnp.dtype("float64"), jacobian=True)
    check_inverse(x, forward, backward)
    np.testing.assert_allclose(forward[1][:2], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "name", ["conv_lu", "split_prior", "batch_norm_masked", "logit", "group_reversible", "level_lu"]
)
def test_it_inverts_itself_in_float32(name):
    _, x, (_, forward, backward, _) = tried(name, jnp.dtype("float32"))
    check_inverse(x, forward, backward)


@pytest.mark.parametrize("name", ["actnorm", "affine", "top_prior", "checkerboard", "nice", "level"])
def test_not_jitted_it_is_the_same(name):
    layer, x, (variables, forward, _, _) = tried(name, jnp.dtype("float32"))
    y, logdet = layer.apply(variables, x)
    np.testing.assert_allclose(y, forward[0], atol=1e-5)
    np.testing.assert_allclose(logdet, forward[1], atol=1e-4)
    check_inverse(x, (y, logdet), layer.apply(variables, y, inverse=True))


def test_actnorm_normalises_the_batch_that_initialises_it():
    x = np.random.default_rng(0).normal(3, 5, (64, *SHAPE)).astype(np.float32)
    y = np.asarray(jax.jit(ActNorm().init_with_output)(jax.random.key(0), x)[0][0])
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std((0, 1, 2)), 1, atol=1e-4)


def test_lu_form_is_the_same_convolution():
    rng = np.random.default_rng(0)
    x, kernel = (rng.normal(size=shape).astype(np.float32) for shape in ((2, *SHAPE), (1, 4, 4)))
    plain, lu = one_mixing("conv"), one_mixing("conv", lu=True)
    parts = jax.jit(decompose)(kernel)
    constants = {name: parts.pop(name) for name in ("sign", "permutation")}
    as_lu = {"params": {"mixings": parts}, "constants": {"mixings": constants}}
    as_plain = {"params": {"mixings": {"kernel": kernel}}}
    for inverse in (False, True):
        (ours, logdet), (expected, expected_logdet) = jax.jit(
            lambda as_lu, as_plain, x, inverse=inverse: (
                lu.apply(as_lu, x, inverse=inverse),
                plain.apply(as_plain, x, inverse=inverse),
            )
        )(as_lu, as_plain, x)
        np.testing.assert_allclose(ours, expected, atol=1e-4)
        np.testing.assert_allclose(logdet, expected_logdet, atol=1e-4)


def test_log_abs_det_and_its_gradient_are_linalgs():
    kernel = np.random.default_rng(0).normal(size=(3, 5, 5)).astype(np.float32)
    functions = (log_abs_det, lambda w: jnp.linalg.slogdet(w)[1])
    values, gradients, inverse = jax.jit(
        lambda kernel: (
            [function(kernel) for function in functions],
            [jax.grad(lambda w, f=function: (f(w) ** 2).sum())(kernel) for function in functions],
            invert(kernel)[0],
        )
    )(kernel)
    np.testing.assert_allclose(*values, atol=1e-5)
    np.testing.assert_allclose(*gradients, rtol=1e-3)
    np.testing.assert_allclose(np.asarray(inverse) @ kernel, np.broadcast_to(np.eye(5), kernel.shape), atol=1e-4)


@pytest.mark.parametrize("shape", [(3, 5, 1), (1, 1, 3), (2, 2, 1)])
def test_nice_takes_any_number_of_entries(shape):
    x = np.random.default_rng(0).normal(size=(5, *shape)).astype(np.float32)
    layer = Rows(NICE(shape, depth=3, hidden_layers=1, width=4))

    @jax.jit
    def there_and_back(x):
        moved = jax.tree.map(lambda p: p + 0.1, layer.init(jax.random.key(1), x))
        return layer.apply(moved, layer.apply(moved, x)[0], inverse=True)[0]

    np.testing.assert_allclose(there_and_back(x), x, atol=1e-5)


def test_a_checkerboard_coupling_takes_odd_sides():
    x = np.random.default_rng(0).normal(size=(4, 3, 5, 2)).astype(np.float32)
    layer = OneCoupling(coupling_step(jnp.float32, "checkerboard"), 1)

    @jax.jit
    def there_and_back(x):
        variables = layer.init(jax.random.key(1), x)
        y, _ = layer.apply(variables, x)
        return y, layer.apply(variables, y, inverse=True)[0]

    y, back = map(np.asarray, there_and_back(x))
    kept = np.broadcast_to(checkerboard(3, 5, 1), x.shape)
    np.testing.assert_array_equal(y[kept], x[kept])
    assert (y != x)[~kept].all()
    np.testing.assert_allclose(back, x, atol=1e-5)


def test_batch_norm_in_training_normalises_and_leaves_the_batchs_statistics():
    x = np.random.default_rng(0).normal(3, 2, (64, *SHAPE)).astype(np.float32)
    layer = BatchNorm()

    @jax.jit
    def train_and_evaluate(x):
        variables = layer.init(jax.random.key(1), jnp.zeros((1, *SHAPE)))
        trained, seen = layer.apply(variables, x, train=True, mutable=["batch_stats"])
        return trained, seen, layer.apply(seen, x), layer.apply(seen, trained[0], inverse=True)[0]

    (y, logdet), seen, (again, logdet_again), back = jax.tree.map(np.asarray, train_and_evaluate(x))
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.var((0, 1, 2)), 1, atol=1e-3)
    np.testing.assert_allclose(seen["batch_stats"]["mean"], x.mean((0, 1, 2)), rtol=1e-5)
    # In evaluation these statistics are the same map, to be inverted.
    np.testing.assert_allclose(again, y, atol=1e-5)
    np.testing.assert_allclose(logdet_again, logdet, atol=1e-4)
    np.testing.assert_allclose(back, x, atol=1e-5)
