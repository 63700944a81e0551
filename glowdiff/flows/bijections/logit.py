"""From pixels in an interval to the whole line (RealNVP, section 4.1)."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from glowdiff.flows.numerics import promote, sum_per_example


class Logit(NamedTuple):
    """`y = logit(margin + (1 - 2 margin) x)` of x in [0, 1).

    The log-determinant of an entry is softplus(y) + softplus(-y) + log(1 - 2 margin).
    """

    margin: float = 0.05  # keeps the ends away from infinity

    def __call__(self, x: jax.Array, inverse: bool = False) -> tuple[jax.Array, jax.Array]:
        """Map x [B, ...]; return it with its log-determinant [B]."""
        y = promote(x) if inverse else self._forward(promote(x))
        logdet = sum_per_example(jax.nn.softplus(y) + jax.nn.softplus(-y) + math.log(1 - 2 * self.margin))
        if inverse:
            return (jax.nn.sigmoid(y) - self.margin) / (1 - 2 * self.margin), -logdet
        return y, logdet

    def _forward(self, x: jax.Array) -> jax.Array:
        p = self.margin + (1 - 2 * self.margin) * x
        return jnp.log(p) - jnp.log1p(-p)
