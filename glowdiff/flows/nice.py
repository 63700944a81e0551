"""NICE: Non-linear Independent Components Estimation (Dinh, Krueger & Bengio, 2014, arXiv:1410.8516)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from glowdiff.flows import base, dequantization
from glowdiff.flows.bijections.actnorm import ActNorm
from glowdiff.flows.bijections.couplings import Coupling
from glowdiff.flows.encoding import Encoded, Latents
from glowdiff.flows.numerics import promote


class MLP(nn.Module):
    """Layers of ReLUs, then a linear layer that returns zeros until it has been trained."""

    features: int
    layers: int
    width: int
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, D] -> [B, features]."""
        kinds = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        for layer in range(self.layers):
            x = nn.relu(
                nn.Dense(self.width, kernel_init=nn.initializers.he_normal(), **kinds, name=f"hidden{layer}")(x)
            )
        return nn.Dense(self.features, kernel_init=nn.initializers.zeros, **kinds, name="out")(x)


class NICE(nn.Module):
    """Additive couplings of an image's even and odd entries, in turn; then each entry is scaled.

    Attributes:
      shape: height, width and channels of the images.
      depth: couplings.
      hidden_layers, width: of their nets.
      prior: normal | logistic, the density of the latent's entries.
      bins, coarsen: see `Glow`.
      dtype: of the nets' arithmetic; everything else is in at least float32.
      param_dtype: of the parameters.
    """

    shape: tuple[int, int, int]
    depth: int = 4
    hidden_layers: int = 5
    width: int = 1000
    prior: str = "logistic"
    bins: int = 256
    coarsen: int = 1
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    classes = 0  # without a type this is no field: it is not for the caller to set

    def setup(self) -> None:
        """The couplings and the scaling."""
        height, width, channels = self.shape
        entries = height * width * channels
        self.nets = [
            MLP(entries // 2, self.hidden_layers, self.width, self.dtype, self.param_dtype) for _ in range(self.depth)
        ]
        self.couplings = [Coupling("additive", net) for net in self.nets]
        # exp(D) of the paper. Its bias adds nothing that those of the last two couplings do not, but starts from data.
        self.scaling = ActNorm(param_dtype=self.param_dtype)

    def encode(self, x: jax.Array, noise: jax.Array, cond: Mapping[str, jax.Array] | None = None) -> Encoded:
        """Latents and exact likelihood of images.

        Args:
          x: integers 0 ... levels - 1, [B, H, W, C].
          noise: where in its bin each pixel lies, in [0, 1 / bins), of the same shape.
          cond: ignored.
        """
        del cond
        z, logdet = self.flow(dequantization.dequantize(x, noise, self.bins, self.coarsen).reshape(x.shape[0], -1))
        log_likelihood = logdet + base.log_prob(self.prior, (z,))
        bits = dequantization.bits_per_dim(log_likelihood, self.shape, self.bins)
        return Encoded((z.reshape(x.shape),), bits)

    def decode(self, latents: Latents, cond: Mapping[str, jax.Array] | None = None) -> jax.Array:
        """Images of latents, the inverse of `encode`: dequantised, [B, H, W, C], bins of width 1/bins from -0.5 on."""
        del cond
        (z,) = latents
        return self.flow(z.reshape(z.shape[0], -1), inverse=True)[0].reshape(z.shape)

    def flow(self, x: jax.Array, inverse: bool = False) -> tuple[jax.Array, jax.Array]:
        """Map x [B, D], D entries of an image in a row; return it with its log-determinant [B]."""
        x = promote(x)
        half = (x.shape[-1] + 1) // 2  # of an odd number of entries, one more is even
        if inverse:
            x, logdet = self.scaling(x, inverse=True)
            for coupling in reversed(self.couplings):
                x, more = coupling(jnp.roll(x, half, axis=-1), inverse=True)
                logdet += more
            even, odd = x[:, :half], x[:, half:]
            return jnp.zeros_like(x).at[:, 0::2].set(even).at[:, 1::2].set(odd), logdet
        x, logdet = jnp.concatenate([x[:, 0::2], x[:, 1::2]], axis=-1), jnp.zeros(x.shape[:1], x.dtype)
        for coupling in self.couplings:
            x, more = coupling(x)
            x = jnp.roll(x, -half, axis=-1)  # what has been changed conditions the next coupling
            logdet += more
        x, more = self.scaling(x)
        return x, logdet + more

    def latent_shapes(self, shape: tuple[int, int, int]) -> tuple[tuple[int, int, int], ...]:
        """Shapes of the latents of one image of `shape` (H, W, C)."""
        return (shape,)
