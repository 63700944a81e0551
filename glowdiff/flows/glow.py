"""Glow: Generative Flow with Invertible 1x1 Convolutions (Kingma & Dhariwal, 2018, arXiv:1807.03039)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from glowdiff.flows import base, chain, dequantization
from glowdiff.flows.bijections.actnorm import ActNorm
from glowdiff.flows.bijections.couplings import Coupling
from glowdiff.flows.bijections.permutations import Mixing, Permutations, mix
from glowdiff.flows.bijections.priors import SplitPrior, TopPrior
from glowdiff.flows.bijections.squeeze import squeeze, unsqueeze
from glowdiff.flows.encoding import Encoded, Latents
from glowdiff.flows.nets import CouplingNet, ScaledBias
from glowdiff.flows.numerics import promote


class FlowStep(nn.Module):
    """actnorm -> permutation -> coupling; the permutation comes from outside (see `permutations`)."""

    coupling: str
    width: int
    dtype: Any
    param_dtype: Any

    def setup(self) -> None:
        """The layers."""
        self.actnorm = ActNorm(param_dtype=self.param_dtype)
        self.net = CouplingNet(2 if self.coupling == "affine" else 1, self.width, self.dtype, self.param_dtype)
        self.transform = Coupling(self.coupling, self.net)

    def __call__(
        self, x: jax.Array, mixing: Mixing, inverse: bool = False, h: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Map x [B, H, W, C]; return it with its log-determinant [B], that of the permutation left out."""
        if inverse:
            x, logdet = self.transform(x, inverse=True, h=h)
            x, more = self.actnorm(mix(x, mixing), inverse=True)
        else:
            x, logdet = self.actnorm(x)
            x, more = self.transform(mix(x, mixing), h=h)
        return x, logdet + more

    def kept(self, y: jax.Array, mixing: Mixing) -> jax.Array:
        """The half of a step's output that its coupling has left as it was."""
        del mixing
        return jnp.split(y, 2, axis=-1)[0]

    def conditioner(self, kept: jax.Array, mixing: Mixing) -> jax.Array:
        """What the coupling's net makes of that half."""
        del mixing
        return self.net(kept)


class FlowLevel(nn.Module):
    """`depth` flow steps, scanned: compile time does not grow with depth.

    Attributes:
      unroll: steps that one turn of the scan holds.
      memory: plain | remat | reversible: what the backward pass keeps, see `chain`.
    """

    depth: int
    width: int
    permutation: str
    lu: bool
    coupling: str
    unroll: int
    memory: str
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, inverse: bool = False) -> tuple[jax.Array, jax.Array]:
        """Map x [B, H, W, C]; return it with its log-determinant [B]."""
        x = promote(x)
        permutations = Permutations(self.permutation, self.depth, self.lu, self.param_dtype, name="permutations")
        mixings, mixing_logdets = permutations(x.shape[-1], inverse)
        self.sow("intermediates", "mixings", mixings)
        back = None
        if self.memory == "reversible" and not inverse:
            back = jax.lax.stop_gradient(permutations(x.shape[-1], inverse=True)[0])
        step = FlowStep(self.coupling, self.width, self.dtype, self.param_dtype, name="steps")
        x, logdet = chain.run(
            self, step, x, mixings, back, depth=self.depth, unroll=self.unroll, memory=self.memory, inverse=inverse
        )
        return x, logdet + (mixing_logdets.sum() * (x.shape[1] * x.shape[2])).astype(logdet.dtype)


class Glow(nn.Module):
    """Squeeze, flow steps, split; `levels` times, the last without a split.

    Attributes:
      levels, depth, width: scales; flow steps per scale; hidden channels of the coupling nets.
      permutation: reverse | shuffle | conv (invertible 1x1 convolutions, `lu` in their LU form).
      coupling: additive | affine.
      learn_top: learn the prior of the last latent.
      classes: number of classes that shift the last latent's prior; 0: not class-conditional.
      bins: distinct values of a pixel as the flow sees it.
      coarsen: pixel values that share a bin: 2^(8 - n_bits) for 256-level data at n_bits, else 1.
      unroll, memory: of the scan over flow steps, see `FlowLevel`.
      dtype: of the coupling nets' arithmetic; everything else is in at least float32.
      param_dtype: of the parameters.
    """

    levels: int = 3
    depth: int = 32
    width: int = 512
    permutation: str = "conv"
    lu: bool = False
    coupling: str = "affine"
    learn_top: bool = True
    classes: int = 0
    bins: int = 256
    coarsen: int = 1
    unroll: int = 1
    memory: str = "plain"
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    prior = "normal"  # without a type this is no field: it is not for the caller to set

    def setup(self) -> None:
        """The scales, their priors, and the classifier."""
        self.flows = [
            FlowLevel(
                self.depth, self.width, self.permutation, self.lu, self.coupling, self.unroll, self.memory,
                self.dtype, self.param_dtype,
            )
            for _ in range(self.levels)
        ]  # fmt: skip
        self.splits = [SplitPrior(self.param_dtype) for _ in range(self.levels - 1)]
        self.top = TopPrior(self.learn_top, self.classes, self.param_dtype)
        if self.classes:
            zeros = nn.initializers.zeros
            self.classifier = nn.Dense(self.classes, use_bias=False, kernel_init=zeros, param_dtype=self.param_dtype)
            self.classifier_output = ScaledBias(param_dtype=self.param_dtype)

    def encode(self, x: jax.Array, noise: jax.Array, cond: Mapping[str, jax.Array] | None = None) -> Encoded:
        """Latents and exact likelihood of images.

        Args:
          x: integers 0 ... levels - 1, [B, H, W, C], with H and W multiples of 2^levels.
          noise: where in its bin each pixel lies, in [0, 1 / bins), of the same shape.
          cond: `label` int32 [B] if class-conditional.

        Returns:
          `Encoded`; its bits per dimension count every channel of every pixel (log p of the dequantised image plus
          the width of the bins: the bound of Theis et al., 2016, section 3.1).
        """
        label = self._label(cond)
        z = dequantization.dequantize(x, noise, self.bins, self.coarsen)
        logdet = jnp.zeros(z.shape[:1], z.dtype)
        latents = []
        for level, flow in enumerate(self.flows):
            z, more = flow(squeeze(z))
            logdet += more
            if level < self.levels - 1:
                z, leave = jnp.split(z, 2, axis=-1)
                eps, more = self.splits[level](z, leave)
                latents.append(eps)
                logdet += more
        class_logits = self.classifier_output(self.classifier(z.mean((1, 2)))) if self.classes else None
        eps, more = self.top(z, label)
        latents.append(eps)
        log_likelihood = logdet + more + base.log_prob(self.prior, latents)
        bits = dequantization.bits_per_dim(log_likelihood, x.shape[1:], self.bins)
        return Encoded(tuple(latents), bits, class_logits)

    def decode(self, latents: Latents, cond: Mapping[str, jax.Array] | None = None) -> jax.Array:
        """Images of latents, the inverse of `encode`: dequantised, [B, H, W, C], bins of width 1/bins from -0.5 on."""
        *rest, eps = latents
        z, _ = self.top(promote(eps), self._label(cond), inverse=True)
        for level in reversed(range(self.levels)):
            if level < self.levels - 1:
                leave, _ = self.splits[level](z, rest[level], inverse=True)
                z = jnp.concatenate([z, leave], axis=-1)
            z = unsqueeze(self.flows[level](z, inverse=True)[0])
        return z

    def latent_shapes(self, shape: tuple[int, int, int]) -> tuple[tuple[int, int, int], ...]:
        """Shapes of the latents of one image of `shape` (H, W, C), in `encode`'s order."""
        h, w, c = shape
        shapes = []
        for _ in range(self.levels - 1):
            h, w, c = h // 2, w // 2, 2 * c
            shapes.append((h, w, c))
        return (*shapes, (h // 2, w // 2, 4 * c))

    def _label(self, cond: Mapping[str, jax.Array] | None) -> jax.Array | None:
        if self.classes and (cond is None or "label" not in cond):
            raise ValueError('this Glow is class-conditional: give cond={"label": int32 [B]}.')
        return cond["label"] if self.classes and cond is not None else None
