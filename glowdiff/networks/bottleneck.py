"""What an autoencoder's latents are: Gaussian (KL), or rows of a codebook (VQ); the `bottleneck` section."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from glowdiff.config.parts import Part
from glowdiff.errors import require

LOG_VARIANCE = (-30.0, 20.0)  # between which a posterior's is kept
COMMITMENT = 0.25  # weight of the published loss; see `codebook_loss`


class Quantized(NamedTuple):
    """What a codebook makes of latents."""

    latents: jax.Array  # rows of the codebook, [B, h, w, C]
    codes: jax.Array  # their numbers, int32 [B, h, w]


@dataclass(frozen=True)
class Bottleneck(Part):
    """What both have.

    Attributes:
      moments: see `glowdiff.networks.autoencoder.Autoencoder`.
    """

    moments: ClassVar[int]

    channels: int = 4  # of the latents
    weight: float = 1.0  # of its term in the loss

    def check(self, key: str) -> None:
        """Raise `ConfigError` for impossible values."""
        require(self.channels > 0, f"{key}.channels is {self.channels}; it must be at least 1.")
        require(self.weight >= 0, f"{key}.weight is {self.weight}; it must be 0 or more.")

    @property
    def codebook_size(self) -> int:
        """Rows of the codebook; 0: there is none."""
        return 0


@dataclass(frozen=True)
class KL(Bottleneck):
    """A Gaussian for each image, pulled a little towards the standard normal (Kingma & Welling, 2014)."""

    moments: ClassVar[int] = 2

    weight: float = 1e-6  # of the sum over pixels and channels


@dataclass(frozen=True)
class VQ(Bottleneck):
    """The nearest rows of a codebook (van den Oord et al., 2017)."""

    moments: ClassVar[int] = 1

    codes: int = 8192  # rows of the codebook

    def check(self, key: str) -> None:
        """Raise `ConfigError` for impossible values."""
        super().check(key)
        require(self.codes > 1, f"{key}.codes is {self.codes}; it must be at least 2.")

    @property
    def codebook_size(self) -> int:
        """See `Bottleneck`."""
        return self.codes


BOTTLENECKS = {"kl": KL, "vq": VQ}


def gaussian(moments: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and log variance, which is kept within `LOG_VARIANCE`, of moments [..., 2 C]."""
    mean, log_variance = jnp.split(moments, 2, -1)
    return mean, jnp.clip(log_variance, *LOG_VARIANCE)


def deviation(log_variance: jax.Array) -> jax.Array:
    """The standard deviation."""
    return jnp.exp(0.5 * log_variance)


def kl_to_normal(mean: jax.Array, log_variance: jax.Array) -> jax.Array:
    """KL(N(mean, variance) || N(0, 1)) in nats, summed over all axes but the first: [B]."""
    nats = 0.5 * (mean**2 + jnp.exp(log_variance) - 1 - log_variance)
    return nats.sum(tuple(range(1, nats.ndim)))


def nearest(codebook: jax.Array, z: jax.Array) -> Quantized:
    """The rows of a codebook [codes, C] with the smallest squared distance to latents [B, h, w, C]."""
    codebook = codebook.astype(z.dtype)
    product = jnp.einsum("bhwc,nc->bhwn", z, codebook, precision=jax.lax.Precision.HIGHEST)
    # |z|^2 is the same for all rows.
    codes = ((codebook**2).sum(-1)[None, None, None] - 2 * product).argmin(-1).astype(jnp.int32)
    return Quantized(codebook[codes], codes)


def straight_through(z: jax.Array, quantized: jax.Array) -> jax.Array:
    """The quantised latents, whose gradient goes to z as if nothing had happened."""
    return z + jax.lax.stop_gradient(quantized - z)


def codebook_loss(z: jax.Array, quantized: jax.Array) -> jax.Array:
    """The mean squared distance between latents and codebook, in both directions; a scalar.

    It is that of all releases: the factor `COMMITMENT` weighs the codebook's way to the latents, not as in the paper
    (van den Oord et al., 2017, eq. 3) theirs to the codebook.
    """
    stop = jax.lax.stop_gradient
    return jnp.mean((stop(quantized) - z) ** 2) + COMMITMENT * jnp.mean((quantized - stop(z)) ** 2)
