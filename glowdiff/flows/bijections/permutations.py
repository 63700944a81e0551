"""How channels are mixed between couplings: reversed, shuffled, or by invertible 1x1 convolutions (Glow, section 3.2).

A level mixes its channels once per step, and all of its steps are parameterised here together, as arrays with a
leading axis [depth]. So log|det W| of a level is one batched call, and so is the inversion of its matrices; the scan
over steps receives one slice each and contains neither.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.scipy.linalg import solve_triangular

from glowdiff.flows.numerics import HIGHEST, promote

KINDS = ("reverse", "shuffle", "conv")
Mixing = jax.Array | None  # what one step needs: nothing (reverse), indices [C] (shuffle), or a matrix [C, C] (conv)


def mix(x: jax.Array, mixing: Mixing) -> jax.Array:
    """Mix the channels of x [B, H, W, C] as `mixing` says."""
    if mixing is None:
        return x[..., ::-1]
    if mixing.ndim == 1:
        return x[..., mixing]
    return jnp.einsum("bhwc,cd->bhwd", x, mixing.astype(x.dtype), precision=HIGHEST)


def orthogonal(key: jax.Array, depth: int, channels: int, dtype: Any) -> jax.Array:
    """`depth` random rotations [depth, C, C], uniform over the orthogonal group."""
    return jax.random.orthogonal(key, channels, (depth,), dtype)


def decompose(kernel: jax.Array) -> dict[str, jax.Array]:
    """The LU parameters of matrices [depth, C, C]: W[permutation] = (lower + I) (upper + diag(sign exp(log_s)))."""
    lu, _, permutation = jax.lax.linalg.lu(kernel)
    diagonal = jnp.diagonal(lu, axis1=-2, axis2=-1)
    return {
        "lower": jnp.tril(lu, -1),
        "upper": jnp.triu(lu, 1),
        "log_s": jnp.log(jnp.abs(diagonal)),
        "sign": jnp.sign(diagonal),
        "permutation": permutation.astype(jnp.int32),
    }


def invert(kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Inverses of matrices [depth, C, C] and log|det| [depth] of the matrices, from one LU decomposition each."""
    lu, _, permutation = jax.lax.linalg.lu(kernel)
    identity = jnp.broadcast_to(jnp.eye(kernel.shape[-1], dtype=kernel.dtype), kernel.shape)
    inverse = solve_lu(lu, lu, jnp.take_along_axis(identity, permutation[:, :, None], axis=1))
    return inverse, jnp.log(jnp.abs(jnp.diagonal(lu, axis1=-2, axis2=-1))).sum(-1)


def solve_lu(lower: jax.Array, upper: jax.Array, rows: jax.Array) -> jax.Array:
    """`upper^-1 lower^-1 rows`, the diagonal of `lower` being one; only the triangles are read."""
    return solve_triangular(upper, solve_triangular(lower, rows, lower=True, unit_diagonal=True), lower=False)


@jax.custom_jvp
def log_abs_det(kernel: jax.Array) -> jax.Array:
    """log|det W| of matrices [depth, C, C]: [depth].

    Its derivative is tr(W^-1 dW), from the decomposition that gave the value. That of `jnp.linalg.slogdet` decomposes
    again, and its pivots sort across devices where the gradient is sharded.
    """
    lu, _, _ = jax.lax.linalg.lu(kernel)
    return jnp.log(jnp.abs(jnp.diagonal(lu, axis1=-2, axis2=-1))).sum(-1)


@log_abs_det.defjvp
def _log_abs_det_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    inverse, value = invert(*primals)
    return value, jnp.einsum("kij,kji->k", inverse, *tangents, precision=HIGHEST)


class Permutations(nn.Module):
    """The mixings of `depth` steps.

    Attributes:
      kind: reverse | shuffle | conv.
      depth: number of steps.
      lu: a conv's matrix is P (L + I) (U + diag(sign * exp(log_s))), whose log-determinant is sum(log_s).
      param_dtype: of the parameters.
    """

    kind: str
    depth: int
    lu: bool = False
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, channels: int, inverse: bool = False) -> tuple[Mixing, jax.Array]:
        """Mixings with a leading axis [depth], inverted if asked, and their log-determinants per pixel [depth]."""
        volume_preserving = jnp.zeros(self.depth, self.param_dtype)
        if self.kind == "reverse":
            return None, volume_preserving
        if self.kind == "shuffle":
            indices = self.variable("constants", "indices", self._shuffles, channels).value
            return (jnp.argsort(indices, axis=-1) if inverse else indices), volume_preserving
        return self._lu_matrices(channels, inverse) if self.lu else self._plain_matrices(channels, inverse)

    def _shuffles(self, channels: int) -> jax.Array:
        keys = jax.random.split(self.make_rng("params"), self.depth)
        return jax.vmap(lambda key: jax.random.permutation(key, channels))(keys).astype(jnp.int32)

    def _plain_matrices(self, channels: int, inverse: bool) -> tuple[jax.Array, jax.Array]:
        kernel = promote(self.param("kernel", orthogonal, self.depth, channels, self.param_dtype))
        if inverse:
            matrices, logdet = invert(kernel)
            return matrices, -logdet
        return kernel, log_abs_det(kernel)

    def _lu_matrices(self, channels: int, inverse: bool) -> tuple[jax.Array, jax.Array]:
        # One rotation is shared by all initialisers; afterwards its key is irrelevant.
        key = self.make_rng("params") if self.is_initializing() else jax.random.key(0)

        def initial(name: str) -> jax.Array:
            return decompose(orthogonal(key, self.depth, channels, self.param_dtype))[name]

        lower = promote(self.param("lower", lambda _: initial("lower")))
        upper = promote(self.param("upper", lambda _: initial("upper")))
        log_s = promote(self.param("log_s", lambda _: initial("log_s")))
        sign = self.variable("constants", "sign", lambda: initial("sign")).value
        permutation = self.variable("constants", "permutation", lambda: initial("permutation")).value

        # Only the strict triangles count, whatever an optimiser wrote elsewhere; W[permutation] = lower @ upper.
        identity = jnp.broadcast_to(jnp.eye(channels, dtype=lower.dtype), lower.shape)
        lower = jnp.tril(lower, -1) + identity
        upper = jnp.triu(upper, 1) + identity * (sign * jnp.exp(log_s))[:, None, :]
        logdet = log_s.sum(-1)
        if inverse:
            rows = jnp.take_along_axis(identity, permutation[:, :, None], axis=1)
            return solve_lu(lower, upper, rows), -logdet
        product = jnp.matmul(lower, upper, precision=HIGHEST)
        return jnp.take_along_axis(product, jnp.argsort(permutation, axis=-1)[:, :, None], axis=1), logdet
