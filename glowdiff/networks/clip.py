"""CLIP of noised images: two transformers, and the angle between what they say (Radford et al., 2021; GLIDE's, 2022).

It differs from the published CLIP in that the timestep takes the place of the class token, so that it reads x_t.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from glowdiff.networks.transformer import Transformer, layer_norm

MEAN = np.array([0.48145466, 0.4578275, 0.40821073])  # of the pictures of CLIP's training set, red, green, blue,
DEVIATION = np.array([0.26862954, 0.26130258, 0.27577711])  # where black is 0 and white is 1
MAX_SCALE = 100.0
_FIRST_SCALE = 1 / 0.07


class CLIP(nn.Module):
    """`module.apply(variables, x, t, method=CLIP.image)`, and likewise `CLIP.text` and `CLIP.scale`.

    Attributes:
      image_size: the images' side.
      patch: the patches' side; it divides that.
      image_width, image_layers, image_heads: of the transformer that reads patches.
      timesteps: T, rows of the table of timesteps.
      text_context: tokens of a caption.
      vocab_size: rows of the table of tokens.
      text_width, text_layers, text_heads: of the transformer that reads captions.
      embedding: features in which images and captions are compared.
      remat: recompute each block in the backward pass instead of keeping its activations.
      dtype: of the matrix products. Norms, embeddings and what comes out are float32, or wider.
    """

    image_size: int
    patch: int
    image_width: int
    image_layers: int
    image_heads: int
    timesteps: int
    text_context: int
    vocab_size: int
    text_width: int
    text_layers: int
    text_heads: int
    embedding: int
    remat: bool = False
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def setup(self) -> None:
        """The towers, and the log of the scale."""
        shared = {"remat": self.remat, "dtype": self.dtype, "param_dtype": self.param_dtype}
        self.image_tower = ImageTower(
            self.image_size, self.patch, self.image_width, self.image_layers, self.image_heads, self.timesteps,
            self.embedding, **shared,
        )  # fmt: skip
        self.text_tower = TextTower(
            self.text_context, self.vocab_size, self.text_width, self.text_layers, self.text_heads, self.embedding,
            **shared,
        )  # fmt: skip
        self.log_scale = self.param("log_scale", nn.initializers.constant(math.log(_FIRST_SCALE)), (), self.param_dtype)

    def __call__(
        self, x: jax.Array, t: jax.Array, tokens: jax.Array, mask: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """`image`, `text` and `scale`: initialises everything."""
        return self.image(x, t), self.text(tokens, mask), self.scale()

    def image(self, x: jax.Array, t: jax.Array) -> jax.Array:
        """What noisy images show.

        Args:
          x: [B, image_size, image_size, 3], scaled as data are to -1 ... 1, plus noise.
          t: timesteps [B], from 0 to T - 1; between two of them their rows are interpolated.

        Returns:
          z [B, embedding], of length 1.
        """
        return self.image_tower(x, t)

    def text(self, tokens: jax.Array, mask: jax.Array) -> jax.Array:
        """What captions say.

        Args:
          tokens: int32 [B, text_context].
          mask: bool [B, text_context]; the real tokens, which come first, are True.

        Returns:
          z [B, embedding], of length 1.
        """
        return self.text_tower(tokens, mask)

    def scale(self) -> jax.Array:
        """By what the cosine of the angle is multiplied, a scalar of at most `MAX_SCALE`."""
        return jnp.exp(_capped(self.log_scale))


class ImageTower(nn.Module):
    """Patches of an image, behind the token of its timestep."""

    image_size: int
    patch: int
    width: int
    layers: int
    heads: int
    timesteps: int
    embedding: int
    remat: bool
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, t: jax.Array) -> jax.Array:
        """See `CLIP.image`."""
        b = x.shape[0]
        kinds = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        init = nn.initializers.normal(self.width**-0.5)
        mean, deviation = (jnp.asarray(255 * values[None, None, None], x.dtype) for values in (MEAN, DEVIATION))
        x = ((x + 1) * 127.5 - mean) / deviation
        sides = (self.patch, self.patch)
        conv = nn.Conv(self.width, sides, sides, padding="VALID", use_bias=False, name="patches", **kinds)
        h = conv(x.astype(self.dtype)).reshape(b, -1, self.width)
        table = self.param("times", init, (self.timesteps, self.width), self.param_dtype)
        positions = self.param(
            "positions", init, ((self.image_size // self.patch) ** 2 + 1, self.width), self.param_dtype
        )
        h = jnp.concatenate([_between(table, t)[:, None].astype(h.dtype), h], 1) + positions[None].astype(h.dtype)
        h = layer_norm(**kinds, name="norm_in")(h)
        h = Transformer(self.layers, self.heads, key_bias=False, remat=self.remat, **kinds, name="transformer")(h)
        return Head(self.embedding, **kinds, name="head")(h[:, 0])


class TextTower(nn.Module):
    """Tokens of a caption, each of which sees those before it; the last one speaks for all."""

    context: int
    vocab_size: int
    width: int
    layers: int
    heads: int
    embedding: int
    remat: bool
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, tokens: jax.Array, mask: jax.Array) -> jax.Array:
        """See `CLIP.text`."""
        kinds = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        table = self.param("tokens", nn.initializers.normal(0.02), (self.vocab_size, self.width), self.param_dtype)
        positions = self.param("positions", nn.initializers.normal(0.01), (self.context, self.width), self.param_dtype)
        h = table[tokens] + positions[None]
        h = Transformer(
            self.layers, self.heads, causal=True, key_bias=False, remat=self.remat, **kinds, name="transformer"
        )(h)
        last = jnp.maximum(mask.sum(1) - 1, 0)
        h = jnp.take_along_axis(h, last[:, None, None], axis=1)[:, 0]
        return Head(self.embedding, **kinds, name="head")(h)


class Head(nn.Module):
    """From a tower's width to the unit vectors in which both are compared."""

    features: int
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        """[B, C] -> [B, features], of length 1, at least float32."""
        h = layer_norm(self.dtype, self.param_dtype, name="norm")(h)
        init = nn.initializers.normal(h.shape[-1] ** -0.5)
        dense = nn.Dense(
            self.features, use_bias=False, kernel_init=init, dtype=h.dtype, param_dtype=self.param_dtype, name="out"
        )
        z = dense(h)
        return z / jnp.linalg.norm(z, axis=-1, keepdims=True)


def _between(table: jax.Array, t: jax.Array) -> jax.Array:
    """Rows [B, C] of a table [T, C] at t [B], interpolated between two of them; samplers may stand there."""
    low = jnp.clip(jnp.floor(t).astype(jnp.int32), 0, len(table) - 1)
    high = jnp.minimum(low + 1, len(table) - 1)
    share = (t - low).astype(table.dtype)[:, None]
    return table[low] * (1 - share) + table[high] * share


@jax.custom_vjp
def _capped(log_scale: jax.Array) -> jax.Array:
    """At most log `MAX_SCALE`. At the cap the gradient passes only where descent leads away from it.

    A plain minimum would keep the parameter there for ever.
    """
    return jnp.minimum(log_scale, math.log(MAX_SCALE))


def _capped_forward(log_scale: jax.Array) -> tuple[jax.Array, jax.Array]:
    return _capped(log_scale), log_scale


def _capped_backward(log_scale: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    return (jnp.where((log_scale < math.log(MAX_SCALE)) | (gradient > 0), gradient, 0),)


_capped.defvjp(_capped_forward, _capped_backward)
