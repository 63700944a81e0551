"""LPIPS: how different two images look, by the features of VGG16 (Zhang et al., 2018; Simonyan & Zisserman, 2015)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

# Channels of the convolutions in front of each pooling; the last one of each gives features.
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_SHIFT, _SCALE = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
_EPSILON = 1e-10  # added to the length of a pixel's features


class LPIPS(nn.Module):
    """Version 0.1 with VGG16: `module.apply(variables, x, y, method="distance")`."""

    def setup(self) -> None:
        """The convolutions, and the weight of each channel of the features."""
        self.convolutions = [[nn.Conv(width, (3, 3), padding=1) for width in widths] for widths in STAGES]
        self.weights = [
            self.param(f"weights_{stage}", nn.initializers.constant(1 / widths[-1]), (widths[-1],))
            for stage, widths in enumerate(STAGES)
        ]

    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        """Images [B, H, W, 3] from -1 to 1 -> features of five stages, [B, h, w, C], by VGG's names for them."""
        shift, scale = (values.astype(x.dtype)[None, None, None] for values in (_SHIFT, _SCALE))
        x, seen = (x - shift) / scale, {}
        for number, stage in enumerate(self.convolutions):
            x = nn.max_pool(x, (2, 2), (2, 2)) if number else x
            for convolution in stage:
                x = nn.relu(convolution(x))
            seen[f"relu{number + 1}_{len(stage)}"] = x
        return seen

    def distance(self, x: jax.Array, y: jax.Array) -> jax.Array:
        """Of images [B, H, W, 3] from -1 to 1, [B]: weighed squared distances, averaged over the pixels of a stage."""
        total = jnp.zeros(x.shape[:1], x.dtype)
        for ours, theirs, weights in zip(self(x).values(), self(y).values(), self.weights, strict=True):
            difference = (_unit(ours) - _unit(theirs)) ** 2
            total += jnp.einsum("bhwc,c->b", difference, weights.astype(x.dtype)) / np.prod(ours.shape[1:3])
        return total


def _unit(x: jax.Array) -> jax.Array:
    """Features of length 1 at every pixel."""
    squares = (x**2).sum(-1, keepdims=True)
    # Where there is nothing at all the root would have no gradient.
    return x / (jnp.sqrt(jnp.maximum(squares, jnp.finfo(x.dtype).tiny)) + _EPSILON)
