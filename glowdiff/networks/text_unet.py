"""The denoiser that reads captions: GLIDE's (Nichol et al., 2021), base, upsampler and inpainting alike."""

from __future__ import annotations

from collections.abc import Mapping

import jax

from glowdiff.errors import require
from glowdiff.networks.text_encoder import TextEncoder
from glowdiff.networks.unet import UNet, condition


class TextUNet(UNet):
    """A `UNet` whose time embedding is added to by a caption, and whose attention blocks read it too.

    Attributes:
      vocab: tokens that there are; the defaults are the published models'.
      text_context: tokens of a caption, padding included.
      text_width: channels of a token.
      text_layers: of the text transformer.
      text_heads: of its attention.
    """

    vocab: int = 50_257
    text_context: int = 128
    text_width: int = 512
    text_layers: int = 16
    text_heads: int = 8

    def setup(self) -> None:
        """Both methods read captions, so what reads them is made here."""
        self.text_encoder = TextEncoder(
            4 * self.channels, self.vocab, self.text_context, self.text_width, self.text_layers, self.text_heads,
            self.remat, self.dtype, self.param_dtype,
        )  # fmt: skip

    def encode_text(self, tokens: jax.Array, mask: jax.Array) -> dict[str, jax.Array]:
        """What `cond` may hold instead of captions, so that many steps encode them once; see `TextEncoder`.

        `module.apply(variables, tokens, mask, method="encode_text")`.

        Raises:
          ValueError: captions are of another length, or the text's heads do not divide its width.
        """
        require(
            self.text_heads > 0 and self.text_width % self.text_heads == 0,
            f"model.text.heads is {self.text_heads}, which does not divide model.text.width, {self.text_width}.",
        )
        return self.text_encoder(tokens, mask)

    def __call__(
        self, x: jax.Array, t: jax.Array, cond: Mapping[str, jax.Array] | None = None, train: bool = False
    ) -> jax.Array:
        """As `UNet`; cond holds `tokens` int32 [B, text_context] and `mask` bool as well, or what is made of them.

        Raises:
          ValueError: as `UNet`; or neither is there, or captions are of another length.
        """
        cond = dict(cond or {})
        if not {"text", "text_emb"} <= cond.keys():
            cond |= self.encode_text(condition(cond, "tokens", "captions"), condition(cond, "mask", "captions"))
        return super().__call__(x, t, cond, train)

    def embed(self, t: jax.Array, cond: Mapping[str, jax.Array]) -> jax.Array:
        """Time, class and caption, [B, 4 channels]."""
        return super().embed(t, cond) + cond["text_emb"].astype(self.wide)

    def context(self, cond: Mapping[str, jax.Array]) -> jax.Array:
        """The caption's tokens, [B, text_context, text_width]."""
        return cond["text"]
