"""RealNVP: Density estimation using Real NVP (Dinh, Sohl-Dickstein & Bengio, 2017, arXiv:1605.08803)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from glowdiff.flows import base, chain, dequantization
from glowdiff.flows.bijections.batchnorm import BatchNorm
from glowdiff.flows.bijections.logit import Logit
from glowdiff.flows.bijections.masked import Parity, checkerboard, divide, unite
from glowdiff.flows.bijections.squeeze import squeeze, squeeze_ordered, unsqueeze, unsqueeze_ordered
from glowdiff.flows.encoding import Encoded, Latents
from glowdiff.flows.numerics import promote, sum_per_example
from glowdiff.flows.resnet import ResNet

LOGIT = Logit()


class CouplingStep(nn.Module):
    """An affine coupling of one part of an image on the other, then batch normalisation of what it has changed.

    Attributes:
      kind: checkerboard | channel: how the image is divided.
      width, blocks: of the residual net.
      batch_norm: normalise, here and in the net.
    """

    kind: str
    width: int
    blocks: int
    batch_norm: bool
    dtype: Any
    param_dtype: Any

    def setup(self) -> None:
        """The layers."""
        if self.batch_norm:
            self.norm_in = BatchNorm(self.param_dtype)
            self.norm_out = BatchNorm(self.param_dtype)
        self.net = ResNet(self.width, self.blocks, self.batch_norm, self.dtype, self.param_dtype)
        self.rescale = self.param("rescale", nn.initializers.zeros, (), self.param_dtype)

    def __call__(
        self, x: jax.Array, parity: Parity, inverse: bool = False, h: jax.Array | None = None, train: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        """Map x [B, H, W, C]; return it with its log-determinant [B].

        Args:
          x: an image; an even number of channels if they are divided.
          parity: 0 or 1, which part is kept.
          inverse: the other direction; not in training.
          h: what `conditioner` gave, where it has been evaluated already.
          train: normalise by the batch's statistics.
        """
        x = promote(x)
        kept, changed, mask = divide(x, self.kind, parity)
        if h is None:
            h = self.conditioner(kept, parity, train)
        shift, raw = jnp.split(h.astype(x.dtype), 2, axis=-1)
        # log s is bounded by a learned scalar, and 0 at first.
        log_scale = jnp.where(mask, self.rescale.astype(x.dtype) * jnp.tanh(raw), 0)
        shift = jnp.where(mask, shift, 0)
        logdet = sum_per_example(log_scale)
        if inverse:
            logdet = -logdet
            if self.batch_norm:
                changed, more = self.norm_out(changed, inverse=True, mask=mask)
                logdet += more
            changed = changed * jnp.exp(-log_scale) - shift
        else:
            changed = (changed + shift) * jnp.exp(log_scale)
            if self.batch_norm:
                changed, more = self.norm_out(changed, train=train, mask=mask)
                logdet += more
        return unite(kept, changed, self.kind, parity), logdet

    def kept(self, y: jax.Array, parity: Parity) -> jax.Array:
        """The part of a step's output that it has left as it was."""
        return divide(y, self.kind, parity)[0]

    def conditioner(self, kept: jax.Array, parity: Parity, train: bool = False) -> jax.Array:
        """Shift and raw log-scale [B, H, W, 2 C'] of what is changed, from what is kept [B, H, W, C']."""
        board = checkerboard(kept.shape[1], kept.shape[2], parity) if self.kind == "checkerboard" else None
        if self.batch_norm:
            kept, _ = self.norm_in(kept, train=train, mask=board)
        signs = [kept, -kept]  # after the ReLU, both signs
        if board is not None:
            signs.append(jnp.broadcast_to(board, (*kept.shape[:3], 1)).astype(kept.dtype))
        return self.net(nn.relu(jnp.concatenate(signs, axis=-1)), 2 * kept.shape[-1], train)


class CouplingGroup(nn.Module):
    """`depth` couplings of one kind, which keep the two parts in turn, scanned.

    Attributes:
      unroll: couplings that one turn of the scan holds.
      memory: plain | remat | reversible: what the backward pass keeps, see `chain`.
    """

    kind: str
    depth: int
    width: int
    blocks: int
    batch_norm: bool
    unroll: int
    memory: str
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, inverse: bool = False, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Map x [B, H, W, C]; return it with its log-determinant [B]."""
        x = promote(x)
        step = CouplingStep(
            self.kind, self.width, self.blocks, self.batch_norm, self.dtype, self.param_dtype, name="steps"
        )
        parities = jnp.arange(self.depth, dtype=jnp.int32) % 2
        options = {"train": True} if train else {}
        return chain.run(
            self, step, x, parities, parities, depth=self.depth, unroll=self.unroll, memory=self.memory,
            inverse=inverse, **options,
        )  # fmt: skip


class RealNVP(nn.Module):
    """Checkerboard couplings, channel couplings, half of the channels leaves; the last level has checkerboards alone.

    Attributes:
      levels: scales.
      depth: couplings of each kind per scale; the last scale has one more.
      width: feature maps of the first scale's residual nets; doubled at each scale, and in channel couplings.
      blocks: residual blocks of each net.
      batch_norm: normalise by batches in training and by moving averages otherwise; False: no normalisation.
      bins, coarsen: see `Glow`.
      unroll, memory: of the scan over couplings, see `CouplingGroup`.
      dtype: of the nets' arithmetic; everything else is in at least float32.
      param_dtype: of the parameters.
    """

    levels: int = 2
    depth: int = 3
    width: int = 64
    blocks: int = 8
    batch_norm: bool = True
    bins: int = 256
    coarsen: int = 1
    unroll: int = 1
    memory: str = "plain"
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    # Without a type these are no fields: they are not for the caller to set.
    classes = 0
    prior = "normal"

    def setup(self) -> None:
        """The scales' groups of couplings."""

        def group(kind: str, level: int, depth: int) -> CouplingGroup:
            width = self.width * 2**level * (2 if kind == "channel" else 1)
            return CouplingGroup(
                kind, depth, width, self.blocks, self.batch_norm, self.unroll, self.memory, self.dtype,
                self.param_dtype,
            )  # fmt: skip

        last = self.levels - 1
        self.checkerboards = [
            group("checkerboard", level, self.depth + (level == last)) for level in range(self.levels)
        ]
        self.channels = [group("channel", level, self.depth) for level in range(last)]

    def encode(
        self, x: jax.Array, noise: jax.Array, cond: Mapping[str, jax.Array] | None = None, train: bool = False
    ) -> Encoded:
        """Latents and exact likelihood of images.

        Args:
          x: integers 0 ... levels - 1, [B, H, W, C], with H and W multiples of 2^(levels - 1).
          noise: where in its bin each pixel lies, in [0, 1 / bins), of the same shape.
          cond: ignored.
          train: normalise by the batch; "batch_stats" must be mutable, and holds the batch's statistics afterwards.
        """
        del cond
        z, logdet = LOGIT(dequantization.dequantize(x, noise, self.bins, self.coarsen) + 0.5)
        latents = []
        for level, checkerboards in enumerate(self.checkerboards):
            z, more = checkerboards(z, train=train)
            logdet += more
            if level < self.levels - 1:
                z, more = self.channels[level](squeeze(z), train=train)
                logdet += more
                z, leave = jnp.split(squeeze_ordered(unsqueeze(z)), 2, axis=-1)
                latents.append(leave)
        latents.append(z)
        log_likelihood = logdet + base.log_prob(self.prior, latents)
        return Encoded(tuple(latents), dequantization.bits_per_dim(log_likelihood, x.shape[1:], self.bins))

    def decode(self, latents: Latents, cond: Mapping[str, jax.Array] | None = None) -> jax.Array:
        """Images of latents, the inverse of `encode`: dequantised, [B, H, W, C], bins of width 1/bins from -0.5 on."""
        del cond
        *rest, z = latents
        for level in reversed(range(self.levels)):
            if level < self.levels - 1:
                z = squeeze(unsqueeze_ordered(jnp.concatenate([z, rest[level]], axis=-1)))
                z = unsqueeze(self.channels[level](z, inverse=True)[0])
            z, _ = self.checkerboards[level](z, inverse=True)
        return LOGIT(z, inverse=True)[0] - 0.5

    def latent_shapes(self, shape: tuple[int, int, int]) -> tuple[tuple[int, int, int], ...]:
        """Shapes of the latents of one image of `shape` (H, W, C), in `encode`'s order."""
        h, w, c = shape
        shapes = []
        for _ in range(self.levels - 1):
            h, w, c = h // 2, w // 2, 2 * c
            shapes.append((h, w, c))
        return (*shapes, (h, w, c))
