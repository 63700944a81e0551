"""EfficientNet-Lite0 (Tan & Le, 2019; Liu, 2020), an ImageNet classifier whose weights a small package holds.

Nothing is squeezed and excited, and activations stop at 6.
"""

from __future__ import annotations

from functools import partial

import jax
from flax import linen as nn

from glowdiff.networks.conv_norm import ConvNorm

_STEM, _HEAD = 32, 1_280
# Repeats, side of the kernel, stride of the first, expansion, channels.
_STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip


def _as_it_is(x: jax.Array) -> jax.Array:
    return x


class EfficientNetLite0(nn.Module):
    """The network.

    Attributes:
      outputs: classes.
      epsilon: of the normalisations.
    """

    outputs: int = 1_000
    epsilon: float = 1e-3

    @nn.compact
    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        """What it sees in images [B, 224, 224, 3], see `preprocessing`: `pool` [B, 1280] and `logits` [B, outputs]."""
        conv = partial(ConvNorm, epsilon=self.epsilon, activation=nn.relu6)
        x = conv(_STEM, (3, 3), 2, name="stem")(x)
        number = 0
        for repeats, side, stride, expansion, features in _STAGES:
            for repeat in range(repeats):
                first, inner = stride if repeat == 0 else 1, x.shape[-1] * expansion
                h = x if expansion == 1 else conv(inner, name=f"block_{number}_expand")(x)
                h = conv(inner, (side, side), first, depthwise=True, name=f"block_{number}_depthwise")(h)
                h = conv(features, activation=_as_it_is, name=f"block_{number}_project")(h)
                x = x + h if first == 1 and x.shape[-1] == features else h
                number += 1
        pool = conv(_HEAD, name="head")(x).mean((1, 2))
        return {"pool": pool, "logits": nn.Dense(self.outputs, name="fc")(pool)}
