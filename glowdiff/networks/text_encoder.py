"""What a denoiser is told of a caption: the text transformer of GLIDE (Nichol et al., 2021)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from glowdiff.networks.blocks import dense
from glowdiff.networks.transformer import Transformer, layer_norm


class TextEncoder(nn.Module):
    """Reads captions. Nothing is masked in its attention: padding has embeddings of its own.

    Attributes:
      features: of the one vector that stands for a caption; None: there is none.
      vocab: tokens that there are.
      context: tokens of a caption, padding included.
      width: channels of a token.
      layers: of the transformer.
      heads: of each attention; they divide the width.
      remat: recompute each block in the backward pass instead of keeping its activations.
      dtype: of the matrix products. Embeddings, norms, softmax and the last layer are float32, or wider.
    """

    features: int | None
    vocab: int
    context: int
    width: int
    layers: int
    heads: int
    remat: bool = False
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: jax.Array, mask: jax.Array) -> dict[str, jax.Array]:
        """What captions say.

        Args:
          tokens: [B, context], int, from 0 to vocab - 1.
          mask: [B, context], bool: whether a token is one of the caption's; all False: no caption.

        Returns:
          `text_emb` [B, features], the projected last position, and `text` [B, context, width], all of them; float32,
          or wider.

        Raises:
          ValueError: there are more or fewer tokens than the context holds.
        """
        for name, given in (("tokens", tokens), ("mask", mask)):
            if given.ndim != 2 or given.shape[1] != self.context:
                raise ValueError(f"{name} has shape {given.shape}; it must be [batch, {self.context}] (text_context).")
        wide, kinds = jnp.promote_types(self.dtype, jnp.float32), (self.dtype, self.param_dtype)
        init, place = nn.initializers.normal(0.02), nn.initializers.normal(0.01)  # as CLIP (Radford et al., 2021)
        table = nn.Embed(self.vocab, self.width, wide, self.param_dtype, init, name="token_embedding")
        position, padding = (
            self.param(name, place, (self.context, self.width), self.param_dtype).astype(wide)[None]
            for name in ("positional_embedding", "padding_embedding")
        )
        h = jnp.where(mask[..., None], table(tokens) + position, padding)
        h = Transformer(
            self.layers, self.heads, remat=self.remat, dtype=self.dtype, param_dtype=self.param_dtype,
            name="transformer",
        )(h)  # fmt: skip
        text = layer_norm(*kinds, name="norm_out")(h)
        if self.features is None:
            return {"text": text}
        emb = dense(self.features, wide, self.param_dtype, "proj_out")(text[:, -1])
        return {"text_emb": emb, "text": text}
