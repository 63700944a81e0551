"""CLIP's text transformer (Radford et al., 2021) as what denoisers are told: the states of all tokens of a caption."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from glowdiff.networks.transformer import Transformer, layer_norm


class TextStates(nn.Module):
    """Tokens of a caption, each of which sees those before it; nothing is masked, so padding counts.

    Attributes:
      context: tokens of a caption, padding included.
      vocab_size: tokens that there are.
      width: channels of a token.
      layers: of the transformer. The originals leave out the last one for Stable Diffusion 2 ("penultimate").
      heads: of each attention; they divide the width.
      activation: quick_gelu (OpenAI's) or gelu (OpenCLIP's).
      remat: recompute each block in the backward pass instead of keeping its activations.
      dtype: of the matrix products. Norms and softmax are float32, or wider.
    """

    context: int
    vocab_size: int
    width: int
    layers: int
    heads: int
    activation: str
    remat: bool = False
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def states(self, tokens: jax.Array) -> jax.Array:
        """Int [B, context] -> the normalised states [B, context, width], float32 or wider; of a compact method."""
        kinds, wide = {"dtype": self.dtype, "param_dtype": self.param_dtype}, jnp.promote_types(self.dtype, jnp.float32)
        shape = (self.vocab_size, self.width)
        table = self.param("tokens", nn.initializers.normal(0.02), shape, self.param_dtype)
        positions = self.param("positions", nn.initializers.normal(0.01), (self.context, self.width), self.param_dtype)
        h = table[tokens].astype(wide) + positions[None].astype(wide)
        h = Transformer(
            self.layers, self.heads, causal=True, remat=self.remat, activation=self.activation, **kinds,
            name="transformer",
        )(h)  # fmt: skip
        return layer_norm(**kinds, name="norm_out")(h)


class CLIPTextEncoder(TextStates):
    """What Stable Diffusion is told of captions.

    Attributes:
      start, end, padding: tokens that stand before a caption, behind it, and in the rest of its context.
    """

    start: int = 49_406
    end: int = 49_407
    padding: int = 49_407

    @nn.compact
    def __call__(self, tokens: jax.Array, mask: jax.Array) -> dict[str, jax.Array]:
        """What captions say.

        Args:
          tokens: int [B, context], or [B, n context]: of a long prompt in n chunks, each of which is read by itself.
          mask: bool, likewise: whether a token is one of the caption's, start and end included. Where it is False
            everywhere there is no caption, and that is said as the originals say it: "" is read.

        Returns:
          `text` [B, n context, width], float32 or wider.

        Raises:
          ValueError: there are other numbers of tokens than the context holds.
        """
        batch, length = tokens.shape
        if tokens.shape != mask.shape or length % self.context or length == 0:
            raise ValueError(
                f"tokens have shape {tokens.shape} and mask {mask.shape}; both must be [batch, {self.context}], or "
                "several times as long."
            )
        chunks = (batch * (length // self.context), self.context)
        states = self.states(self.padded(tokens.reshape(chunks), mask.reshape(chunks)))
        return {"text": states.reshape(batch, length, self.width)}

    def padded(self, tokens: jax.Array, mask: jax.Array) -> jax.Array:
        """The tokens of chunks as the originals have them, padding included, int [B, context]."""
        empty = jnp.array([self.start, self.end] + [self.padding] * (self.context - 2), tokens.dtype)
        there = mask.any(-1, keepdims=True)
        return jnp.where(there, jnp.where(mask, tokens, self.padding), empty[None])
