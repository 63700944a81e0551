"""Inception v3 (Szegedy et al., 2016) as FID knows it: the graph of December 2015, with 1,008 outputs.

It is not torchvision's: its 3x3 averages count the pixels within the image only, its last block has a maximum in their
place, and there is no auxiliary head. Modules bear the names of the published weights.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from glowdiff.networks.conv_norm import ConvNorm

SPATIAL = 7  # channels of the map that sFID takes

Layer = tuple[str, int, int, int]  # name, features, height and width of the kernel
Chain = tuple[Any, ...]  # of layers, and of tuples of layers


class Inception(nn.Module):
    """The network.

    Attributes:
      outputs: classes; of 1,008 the first is no class, and 1,000 are ImageNet's.
      epsilon: of the normalisations.
    """

    outputs: int = 1_008
    epsilon: float = 1e-3

    @nn.compact
    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        """What it sees in images [B, 299, 299, 3], prepared in one of three ways, see `preprocessing`.

        Returns:
          `pool3` [B, 2048], FID's; `logits` and `logits_unbiased` [B, outputs], with bias and without, for Inception
          scores; `spatial` [B, 17, 17, 7], sFID's; `block64`, `block192` and `block768`, means of earlier maps.
        """
        conv = partial(ConvNorm, epsilon=self.epsilon)
        x = conv(32, (3, 3), 2, "VALID", name="Conv2d_1a_3x3")(x)
        x = conv(32, (3, 3), 1, "VALID", name="Conv2d_2a_3x3")(x)
        x = block64 = _halved(conv(64, (3, 3), name="Conv2d_2b_3x3")(x))
        x = conv(80, padding="VALID", name="Conv2d_3b_1x1")(x)
        x = block192 = _halved(conv(192, (3, 3), 1, "VALID", name="Conv2d_4a_3x3")(x))
        for letter, features in (("b", 32), ("c", 64), ("d", 64)):
            x, _ = _Mixed(_block_5(features), self.epsilon, name=f"Mixed_5{letter}")(x)
        x, _ = _Mixed(_BLOCK_6A, self.epsilon, halving=True, name="Mixed_6a")(x)
        spatial = x
        for letter, features in (("b", 128), ("c", 160), ("d", 160), ("e", 192)):
            x, first = _Mixed(_block_6(features), self.epsilon, name=f"Mixed_6{letter}")(x)
            spatial = first if letter == "d" else spatial
        block768 = x
        x, _ = _Mixed(_BLOCK_7A, self.epsilon, halving=True, name="Mixed_7a")(x)
        x, _ = _Mixed(_BLOCK_7, self.epsilon, name="Mixed_7b")(x)
        x, _ = _Mixed(_BLOCK_7, self.epsilon, pool="max", name="Mixed_7c")(x)
        pool3 = _mean(x)
        kernel = self.param("fc_kernel", nn.initializers.lecun_normal(), (pool3.shape[-1], self.outputs))
        bias = self.param("fc_bias", nn.initializers.zeros, (self.outputs,))
        unbiased = pool3 @ kernel
        means = {f"block{each.shape[-1]}": _mean(each) for each in (block64, block192, block768)}
        features = {"pool3": pool3, "logits": unbiased + bias[None], "logits_unbiased": unbiased}
        return {**features, "spatial": spatial[..., :SPATIAL], **means}


class _Mixed(nn.Module):
    """Chains of convolutions beside each other; where a chain ends in a tuple of layers, it forks into them.

    Attributes:
      chains: of layers.
      epsilon: of the normalisations.
      halving: the last layer of every chain has stride 2 and no padding, and the pool no convolution.
      pool: mean or max, in front of the last chain's convolution.
    """

    chains: tuple[Chain, ...]
    epsilon: float
    halving: bool = False
    pool: str = "mean"

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """[B, H, W, C] -> all chains' outputs, and the first one's, which may be what sFID takes."""

        def conv(layer: Layer, x: jax.Array, last: bool) -> jax.Array:
            name, features, height, width = layer
            stride, padding = (2, "VALID") if last and self.halving else (1, "SAME")
            return ConvNorm(features, (height, width), stride, padding, epsilon=self.epsilon, name=name)(x)

        outputs = []
        for chain in self.chains:
            h = x
            if not self.halving and chain is self.chains[-1]:
                h = _surrounding_mean(x) if self.pool == "mean" else nn.max_pool(x, (3, 3), (1, 1), "SAME")
            for layer in chain:
                last = layer is chain[-1]
                forks = layer if isinstance(layer[0], tuple) else (layer,)
                h = jnp.concatenate([conv(each, h, last) for each in forks], -1)
            outputs.append(h)
        if self.halving:
            outputs.append(_halved(x))
        return jnp.concatenate(outputs, -1), outputs[0]


def _block_5(pooled: int) -> tuple[Chain, ...]:
    return (
        (("branch1x1", 64, 1, 1),),
        (("branch5x5_1", 48, 1, 1), ("branch5x5_2", 64, 5, 5)),
        (("branch3x3dbl_1", 64, 1, 1), ("branch3x3dbl_2", 96, 3, 3), ("branch3x3dbl_3", 96, 3, 3)),
        (("branch_pool", pooled, 1, 1),),
    )


_BLOCK_6A = (
    (("branch3x3", 384, 3, 3),),
    (("branch3x3dbl_1", 64, 1, 1), ("branch3x3dbl_2", 96, 3, 3), ("branch3x3dbl_3", 96, 3, 3)),
)


def _block_6(inner: int) -> tuple[Chain, ...]:
    return (
        (("branch1x1", 192, 1, 1),),
        (("branch7x7_1", inner, 1, 1), ("branch7x7_2", inner, 1, 7), ("branch7x7_3", 192, 7, 1)),
        (
            ("branch7x7dbl_1", inner, 1, 1), ("branch7x7dbl_2", inner, 7, 1), ("branch7x7dbl_3", inner, 1, 7),
            ("branch7x7dbl_4", inner, 7, 1), ("branch7x7dbl_5", 192, 1, 7),
        ),
        (("branch_pool", 192, 1, 1),),
    )  # fmt: skip


_BLOCK_7A = (
    (("branch3x3_1", 192, 1, 1), ("branch3x3_2", 320, 3, 3)),
    (
        ("branch7x7x3_1", 192, 1, 1), ("branch7x7x3_2", 192, 1, 7), ("branch7x7x3_3", 192, 7, 1),
        ("branch7x7x3_4", 192, 3, 3),
    ),
)  # fmt: skip
_BLOCK_7 = (
    (("branch1x1", 320, 1, 1),),
    (("branch3x3_1", 384, 1, 1), (("branch3x3_2a", 384, 1, 3), ("branch3x3_2b", 384, 3, 1))),
    (
        ("branch3x3dbl_1", 448, 1, 1), ("branch3x3dbl_2", 384, 3, 3),
        (("branch3x3dbl_3a", 384, 1, 3), ("branch3x3dbl_3b", 384, 3, 1)),
    ),
    (("branch_pool", 192, 1, 1),),
)  # fmt: skip


def _halved(x: jax.Array) -> jax.Array:
    return nn.max_pool(x, (3, 3), (2, 2), "VALID")


def _surrounding_mean(x: jax.Array) -> jax.Array:
    """Of the 3x3 pixels around each, as far as there are any."""
    return nn.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=False)


def _mean(x: jax.Array) -> jax.Array:
    return x.mean((1, 2))
