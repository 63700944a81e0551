"""CLIP as it was published (Radford et al., 2021), with a Vision Transformer: embeddings of images and of captions.

`glowdiff.networks.clip` is the one that reads noised images, and guides; both are made of the same transformer.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import linen as nn

from glowdiff.networks.clip_text import TextStates
from glowdiff.networks.transformer import Transformer, layer_norm

_KINDS = {"dtype": jnp.float32, "param_dtype": jnp.float32}


class CLIPViT(nn.Module):
    """`module.apply(variables, x)`, `.apply(variables, tokens, method="text")`, `.apply(variables, method="scale")`.

    Attributes:
      image_size: the images' side, in pixels.
      patch: the patches' side; it divides that.
      image_width, image_layers, image_heads: of the transformer that reads patches.
      context: tokens of a caption.
      vocab_size: tokens that there are.
      text_width, text_layers, text_heads: of the transformer that reads captions.
      embedding: features in which images and captions are compared.
      activation: quick_gelu (OpenAI's) or gelu (most others').
    """

    image_size: int
    patch: int
    image_width: int
    image_layers: int
    image_heads: int
    context: int
    vocab_size: int
    text_width: int
    text_layers: int
    text_heads: int
    embedding: int
    activation: str

    def setup(self) -> None:
        """The towers, and the log of the scale."""
        self.image_tower = _ImageTower(
            self.image_size, self.patch, self.image_width, self.image_layers, self.image_heads, self.embedding,
            self.activation,
        )  # fmt: skip
        self.text_tower = _TextTower(
            self.context, self.vocab_size, self.text_width, self.text_layers, self.text_heads, self.activation,
            embedding=self.embedding,
        )  # fmt: skip
        self.log_scale = self.param("log_scale", nn.initializers.constant(-math.log(0.07)), ())

    def __call__(self, x: jax.Array, tokens: jax.Array | None = None) -> dict[str, jax.Array]:
        """What images show, and what captions say if there are any: initialises everything.

        Args:
          x: [B, image_size, image_size, 3], normalised, see `preprocessing`.
          tokens: see `text`.

        Returns:
          `image` [B, embedding], not of length 1; and what `text` returns.
        """
        return {"image": self.image_tower(x), **({} if tokens is None else self.text(tokens))}

    def text(self, tokens: jax.Array) -> dict[str, jax.Array]:
        """What captions say.

        Args:
          tokens: int32 [B, context]; the end has the largest number of all, and what is behind it has no effect.

        Returns:
          `text` [B, embedding], not of length 1, and `text_sequence` [B, context, text_width], the normalised states
          of all tokens.
        """
        return self.text_tower(tokens)

    def scale(self) -> jax.Array:
        """By what cosines are multiplied to be logits, a scalar."""
        return jnp.exp(self.log_scale)


class _ImageTower(nn.Module):
    """Patches of an image, behind a token that speaks for all."""

    image_size: int
    patch: int
    width: int
    layers: int
    heads: int
    embedding: int
    activation: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """See `CLIPViT`: [B, H, W, 3] -> [B, embedding]."""
        init = nn.initializers.normal(self.width**-0.5)
        sides = (self.patch, self.patch)
        h = nn.Conv(self.width, sides, sides, padding="VALID", use_bias=False, name="patches")(x)
        h = h.reshape(len(x), -1, self.width)
        token = self.param("class", init, (self.width,))
        positions = self.param("positions", init, ((self.image_size // self.patch) ** 2 + 1, self.width))
        h = jnp.concatenate([jnp.broadcast_to(token, (len(x), 1, self.width)), h], 1) + positions[None]
        h = layer_norm(**_KINDS, name="norm_in")(h)
        h = Transformer(self.layers, self.heads, activation=self.activation, name="transformer")(h)
        h = layer_norm(**_KINDS, name="norm_out")(h[:, 0])
        return nn.Dense(self.embedding, use_bias=False, kernel_init=init, name="out")(h)


class _TextTower(TextStates):
    """A caption; the end token speaks for all."""

    embedding: int = 0

    @nn.compact
    def __call__(self, tokens: jax.Array) -> dict[str, jax.Array]:
        """See `CLIPViT.text`."""
        h = self.states(tokens)
        end = jnp.take_along_axis(h, tokens.argmax(1)[:, None, None], axis=1)[:, 0]
        init = nn.initializers.normal(self.width**-0.5)
        return {
            "text": nn.Dense(self.embedding, use_bias=False, kernel_init=init, name="out")(end),
            "text_sequence": h,
        }
