"""Losses and the pieces of the bound, by their equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glowdiff.diffusion.likelihood import discretized_log_likelihood, normal_cdf, normal_kl, prior_term
from glowdiff.diffusion.losses import losses, min_snr_weight
from glowdiff.diffusion.process import Process
from glowdiff.diffusion.schedules import alpha_bars
from glowdiff.samplers.levels import as_dtype, rows

T = 50
X_0 = jnp.round(jax.random.uniform(jax.random.key(0), (4, 2, 2, 1), minval=0, maxval=16)) / 8 - 1
NOISE = jax.random.normal(jax.random.key(1), X_0.shape)
STEPS = np.array([0, 1, 20, T - 1])


def steps_of(process):
    return rows(as_dtype(process.training_grid(), jnp.float32), STEPS)


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_the_likelihoods_of_all_pixel_values_sum_to_one(levels):
    x = jnp.linspace(-1, 1, levels)[:, None]
    means, log_vars = jnp.array([[-1.4, -1, 0.1, 0.99]]), jnp.array([[-9.0, -4, 0, 2]])
    log_p = discretized_log_likelihood(x, means, log_vars, levels)
    np.testing.assert_allclose(jnp.exp(log_p).sum(0), 1, atol=1e-5)


def test_the_bins_at_the_ends_are_open():
    log_p = discretized_log_likelihood(jnp.array([-1.0, 1.0]), jnp.array([-1.0, 1.0]), jnp.array(0.0), 17)
    np.testing.assert_allclose(log_p, jnp.log(normal_cdf(jnp.array(1 / 16))), rtol=1e-5)


def test_kl_of_gaussians():
    np.testing.assert_allclose(normal_kl(*jnp.array([1.0, 0, 3, 0])), 2, rtol=1e-6)
    np.testing.assert_allclose(normal_kl(*jnp.array([0.0, 2, 0, 0])), (np.exp(2) - 3) / 2, rtol=1e-6)
    assert normal_kl(*jnp.array([0.3, -9.0, 0.3, -9.0])) == 0


def test_the_prior_is_precise_where_almost_nothing_is_left_of_the_data():
    last = as_dtype(Process(alpha_bars("cosine", 1000)).training_grid(), jnp.float32).now
    alpha_bar = np.float64(last.alpha_bar[-1])
    exact = 0.5 * alpha_bar * np.asarray(X_0, np.float64) ** 2 + 0.25 * alpha_bar**2
    np.testing.assert_allclose(prior_term(X_0, rows(last, -1)), exact.mean((1, 2, 3)) / np.log(2), rtol=1e-3)


@pytest.mark.parametrize("kind", ["simple", "hybrid"])
def test_the_bound_trains_the_variance_alone(kind):
    """The detached mean of Nichol & Dhariwal (2021), section 3.1, which no golden shows."""
    process = Process(alpha_bars("linear", T), variance="learned")

    def bound_of(mean, between):
        output = jnp.concatenate([mean, between], -1)
        return losses(process, kind, output, X_0, NOISE, steps_of(process), levels=17).vb.sum()

    def total_of(mean):
        output = jnp.concatenate([mean, jnp.zeros_like(mean)], -1)
        return losses(process, kind, output, X_0, NOISE, steps_of(process), levels=17).total.sum()

    mean = NOISE + 0.3
    of_mean, of_variance = jax.jit(jax.grad(bound_of, (0, 1)))(mean, jnp.zeros_like(mean))
    np.testing.assert_array_equal(of_mean, 0)
    assert (jnp.abs(of_variance).sum((1, 2, 3)) > 0).all()
    np.testing.assert_allclose(jax.jit(jax.grad(total_of))(mean), 2 * 0.3 / 4, rtol=1e-5)  # that of the squared error


def test_kl_trains_both():
    process = Process(alpha_bars("linear", T), variance="learned")
    output = jnp.concatenate([NOISE + 0.3, jnp.zeros_like(NOISE)], -1)

    def loss(output):
        return losses(process, "kl", output, X_0, NOISE, steps_of(process), levels=17).total.sum()

    gradient = jax.jit(jax.grad(loss))(output)
    assert (jnp.abs(gradient).sum((1, 2)) > 0).all()


def test_factors_of_the_bound():
    process = Process(alpha_bars("linear", T), variance="learned")
    output = jnp.concatenate([NOISE + 0.3, jnp.zeros_like(NOISE)], -1)

    @jax.jit
    def all_kinds(output):
        step = steps_of(process)
        return {
            k: losses(process, k, output, X_0, NOISE, step, levels=17)
            for k in ("simple", "hybrid", "kl", "rescaled_kl")
        }

    found = all_kinds(output)
    vb = found["kl"].total
    np.testing.assert_allclose(found["rescaled_kl"].total, T * vb, rtol=1e-5)
    np.testing.assert_allclose(found["simple"].total, found["simple"].mse + vb, rtol=1e-5)
    np.testing.assert_allclose(found["hybrid"].total, found["hybrid"].mse + vb * T / 1000, rtol=1e-5)
    np.testing.assert_allclose(found["simple"].mse, 0.09, rtol=1e-4)


def test_min_snr_weighs_every_target_alike():
    """An error of x_0 costs min(SNR, gamma) times its square, whatever the network predicts (Hang et al., 2023)."""
    gamma, error = 5.0, 0.2
    for prediction in ("eps", "x_0", "v"):
        process = Process(alpha_bars("cosine", T), prediction)
        step = steps_of(process)
        x_t = process.q_sample(X_0, step.now, NOISE)
        wrong = X_0 + error * jnp.minimum(1, step.now.ratio)[:, None, None, None]
        eps = (x_t - step.now.alpha[:, None, None, None] * wrong) / step.now.sigma[:, None, None, None]
        output = process.target(wrong, step.now, eps)
        loss = losses(process, "simple", output, X_0, NOISE, step, levels=17, gamma=gamma)
        snr = 1 / step.now.ratio**2
        expected = jnp.minimum(snr, gamma) * (error * jnp.minimum(1, step.now.ratio)) ** 2
        np.testing.assert_allclose(loss.total, expected, rtol=2e-3, err_msg=prediction)
        weight = min_snr_weight(prediction, step.now, gamma)
        np.testing.assert_allclose(loss.total, loss.mse * weight, rtol=1e-6)


def test_min_snr_weights_are_finite_without_signal():
    process = Process(alpha_bars("cosine", T, zero_terminal_snr=True), "v")
    last = rows(as_dtype(process.training_grid(), jnp.float32), -1).now
    assert [float(min_snr_weight(prediction, last, 5.0)) for prediction in ("eps", "x_0", "v")] == [1, 0, 0]
