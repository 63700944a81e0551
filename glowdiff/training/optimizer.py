"""Update rules and learning rates, as configured."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from glowdiff.config.sections import Config


class AdamaxState(NamedTuple):
    """Moments of `scale_by_adamax`."""

    step: jax.Array
    mu: optax.Updates
    nu: optax.Updates


def scale_by_adamax(b1: float, b2: float, eps: float, mu_dtype: Any = None) -> optax.GradientTransformation:
    """Glow's Adamax: the infinity norm decays like Adamax's, the bias is corrected like Adam's.

    `m = b1 m + (1 - b1) g`, `u = max(b2 u, |g|)`, and the update is `sqrt(1 - b2^t) / (1 - b1^t) * m / (u + eps)`.
    Kingma & Ba's Adamax (2015, algorithm 2, `optax.adamax`) has no square root, and so no second warm-up. `m` is kept
    in `mu_dtype`; None: the parameters'.
    """

    def init(params: optax.Params) -> AdamaxState:
        mu, nu = (jax.tree.map(partial(jnp.zeros_like, dtype=dtype), params) for dtype in (mu_dtype, None))
        return AdamaxState(jnp.zeros((), jnp.int32), mu, nu)

    def update(
        updates: optax.Updates, state: AdamaxState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, AdamaxState]:
        del params
        step = state.step + 1
        mu = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mu, updates)
        nu = jax.tree.map(lambda u, g: jnp.maximum(b2 * u, jnp.abs(g)), state.nu, updates)
        correction = jnp.sqrt(1 - b2**step) / (1 - b1**step)
        updates = jax.tree.map(lambda m, u: (correction * m / (u + eps)).astype(u.dtype), mu, nu)
        return updates, AdamaxState(step, optax.tree.cast(mu, mu_dtype), nu)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]


def learning_rate(config: Config) -> optax.Schedule:
    """Linear warm-up from 0, then constant, or a cosine or linear decay to 0: step -> rate."""
    optimizer = config.optimizer
    rate, warmup = optimizer.learning_rate, optimizer.warmup_steps
    length = max((optimizer.decay_steps or config.train.steps) - warmup, 1)
    after = {
        "constant": lambda: optax.constant_schedule(rate),
        "cosine": lambda: optax.cosine_decay_schedule(rate, length),
        "linear": lambda: optax.linear_schedule(rate, 0.0, length),
    }[optimizer.decay]()
    if not warmup:
        return after
    # The first step already moves: step 0 has 1/warmup of the rate.
    return optax.join_schedules([optax.linear_schedule(rate / warmup, rate, warmup - 1 or 1), after], [warmup])


def _kernels(params: optax.Params) -> optax.Params:
    """Which parameters decay: weights of layers; not biases, nor the scales that fix a flow's volume."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: str(getattr(path[-1], "key", path[-1])).startswith("kernel"), params
    )


def make_optimizer(config: Config) -> optax.GradientTransformation:
    """The configured clipping, update rule and learning rate, as one transformation.

    Of the two moments only the mean of gradients may be kept in bfloat16: the other one changes by a thousandth of
    itself in a step, which bfloat16 would round away.
    """
    optimizer = config.optimizer
    # Parameters of another type than float32 have moments of that type.
    numbers = (optimizer.b1, optimizer.b2, optimizer.eps)
    mu_dtype = None if optimizer.mu_dtype == "float32" else optimizer.mu_dtype
    adam = partial(optax.scale_by_adam, *numbers, mu_dtype=mu_dtype)
    rules = {
        "adam": adam,
        "adamw": lambda: optax.chain(adam(), optax.add_decayed_weights(optimizer.weight_decay, mask=_kernels)),
        "adamax": partial(scale_by_adamax, *numbers, mu_dtype=mu_dtype),
    }
    clip = optax.clip_by_global_norm(config.train.clip) if config.train.clip else optax.identity()
    return optax.chain(clip, rules[optimizer.name](), optax.scale_by_learning_rate(learning_rate(config)))
