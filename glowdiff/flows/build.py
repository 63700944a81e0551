"""From configurations to the three flows."""

from __future__ import annotations

import os
from typing import Any

import jax
import jax.numpy as jnp
from absl import logging

from glowdiff.flows.config import FlowConfig, GlowConfig, NICEConfig, RealNVPConfig
from glowdiff.flows.glow import Glow
from glowdiff.flows.method import flow_method
from glowdiff.flows.nice import NICE
from glowdiff.flows.realnvp import RealNVP
from glowdiff.method import Method, Variables, label_row
from glowdiff.sharding import Platform
from glowdiff.spec import DataSpec

# Steps per turn of the scan, where the configuration leaves it open, by backend and `model.memory`; else 1. On the CPU
# a training step with any loop left in it runs two to three times slower than one without (benchmarks/unroll.py), so
# there all steps are unrolled, whatever the depth. On a GPU (an H200, benchmarks/gpu.py) Glow at 64x64 trains in 0.9 of
# the time with two steps in a turn, in 1.07 times the bytes, and no faster with more of them; where nothing is
# recomputed in 0.96 with eight. RealNVP, which has the same loop, follows. Elsewhere memory matters: what is unrolled
# XLA may keep instead of recomputing it.
DEFAULT_UNROLL = {("cpu", "plain"): 1_000, ("gpu", "plain"): 8, ("gpu", "remat"): 2}

# Up to this many channels XLA's LAPACK calls are safe with two threads (jax 0.10): see `_warn_of_few_threads`.
SAFE_CHANNELS = 48


def _common(config: FlowConfig, spec: DataSpec, dtype: str) -> dict[str, Any]:
    """What all flows are built with."""
    coarsen = 2 ** (8 - (config.n_bits or 8)) if spec.levels == 256 else 1
    return {
        "bins": spec.levels // coarsen,
        "coarsen": coarsen,
        "dtype": jnp.dtype(dtype),
        "param_dtype": jnp.promote_types(dtype, jnp.float32),
    }


def _unroll(config: GlowConfig | RealNVPConfig, platform: Platform) -> int:
    """As configured; else what suits the platform."""
    return config.unroll or DEFAULT_UNROLL.get((platform.name, config.memory), 1)


def glow_module(config: GlowConfig, spec: DataSpec, dtype: str, *, platform: Platform) -> Glow:
    """The module of a configuration, compiled for a platform."""
    if config.permutation == "conv":
        _warn_of_few_threads(spec.shape[-1] * 2 ** (config.levels + 1), platform)
    return Glow(
        levels=config.levels,
        depth=config.depth,
        width=config.width,
        permutation=config.permutation,
        lu=config.lu,
        coupling=config.coupling,
        learn_top=config.learn_top,
        classes=len(spec.classes) if config.class_conditional else 0,
        unroll=_unroll(config, platform),
        memory=config.memory,
        **_common(config, spec, dtype),
    )


def glow_method(config: GlowConfig, spec: DataSpec, dtype: str, *, platform: Platform) -> Method:
    """Glow's `Method` for images of `spec`; the loss is equation 2 of the paper.

    If class-conditional, `class_weight` times the classifier's cross-entropy in bits is added. For `platform` see
    `glow_module`.
    """
    module = glow_module(config, spec, dtype, platform=platform)
    takes = (label_row(spec),) if config.class_conditional else ()
    method = flow_method(module, spec.shape, class_weight=config.class_weight, takes=takes)

    def diagnostics(variables: Variables) -> dict[str, jax.Array]:
        """The worst condition number of the 1x1 convolutions: what inverting them multiplies rounding errors by."""
        image = jnp.zeros((1, *spec.shape), jnp.uint8)
        cond = {"label": jnp.zeros(1, jnp.int32)}
        noise = jnp.zeros(image.shape, module.param_dtype)
        _, state = module.apply(variables, image, noise, cond, method=module.encode, mutable=["intermediates"])
        matrices = [leaf for leaf in jax.tree.leaves(state) if leaf.ndim == 3]
        return {"condition_number": jnp.max(jnp.stack([jnp.linalg.cond(w).max() for w in matrices]))}

    return method._replace(diagnostics=diagnostics) if config.permutation == "conv" else method


def realnvp_method(config: RealNVPConfig, spec: DataSpec, dtype: str, *, platform: Platform) -> Method:
    """RealNVP's `Method` for images of `spec`.

    The loss is bits per dimension, normalised by the batch's statistics, plus `l2` times the squares of the
    weight-normalised kernels' magnitudes and of the couplings' scales. For `platform` see `glow_module`.
    """
    module = RealNVP(
        levels=config.levels,
        depth=config.depth,
        width=config.width,
        blocks=config.blocks,
        batch_norm=config.batch_norm,
        unroll=_unroll(config, platform),
        memory=config.memory,
        **_common(config, spec, dtype),
    )

    def penalty(params: Any) -> jax.Array:
        leaves = jax.tree_util.tree_leaves_with_path(params)
        squares = [jnp.square(p).sum() for path, p in leaves if path[-1].key in ("magnitude", "rescale")]
        return config.l2 * jnp.stack(squares).sum()

    return flow_method(module, spec.shape, penalty=penalty if config.l2 else None)


def nice_method(config: NICEConfig, spec: DataSpec, dtype: str, *, platform: Platform) -> Method:
    """NICE's `Method` for images of `spec`; the loss is bits per dimension. It is the same for every platform."""
    del platform
    module = NICE(
        shape=spec.shape,
        depth=config.depth,
        hidden_layers=config.hidden_layers,
        width=config.width,
        prior=config.prior,
        **_common(config, spec, dtype),
    )
    return flow_method(module, spec.shape)


def _warn_of_few_threads(channels: int, platform: Platform) -> None:
    """Say that XLA may hang: on the CPU, two batched decompositions of large matrices wait for each other's threads."""
    threads = int(os.environ.get("NPROC") or os.cpu_count() or 1)
    if channels > SAFE_CHANNELS and threads < 4 and platform.name == "cpu":
        logging.warning(
            "The 1x1 convolutions reach %d channels. With %d threads XLA may wait for ever in decomposing matrices of "
            "that size; set the environment variable NPROC=4.",
            channels,
            threads,
        )
