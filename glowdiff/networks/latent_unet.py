"""The denoiser of latents: the UNet of latent diffusion and Stable Diffusion (Rombach et al., 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from glowdiff.networks.embeddings import TimeEmbedding
from glowdiff.networks.recomputation import in_order, remat
from glowdiff.networks.spatial_transformer import SpatialTransformer
from glowdiff.networks.unet import UNet, condition


class LatentUNet(UNet):
    """A `UNet` whose attention blocks are transformers that read a context: a caption's tokens, or that of a class.

    Attributes:
      depth: blocks of each transformer.
      cross_only: numbers of the levels at which pixels attend to the context alone, and not to each other,
      middle_cross_only: and whether they do so in the middle.
      label_width: channels of the token that stands for a class.
      noise_levels: rows of the table of how much noise `low_res` was given, from 0 on; 0: it is not told.
      text: the `text` section of captions that the network reads itself (`glowdiff.networks.captions.Captions`); None:
        there are none, or it is given what they say.
    """

    depth: int = 1
    cross_only: tuple[int, ...] = ()
    middle_cross_only: bool = False
    label_width: int = 512
    noise_levels: int = 0
    text: Any = None

    def setup(self) -> None:
        """Both methods read captions, so what reads them is made here."""
        if self.text is not None:
            self.text_encoder = self.text.encoder(
                None, remat=self.remat, dtype=self.dtype, param_dtype=self.param_dtype
            )

    def encode_text(self, tokens: jax.Array, mask: jax.Array) -> dict[str, jax.Array]:
        """What `cond` may hold instead of captions: `text`; `module.apply(..., method="encode_text")`."""
        return self.text_encoder(tokens, mask)

    def __call__(
        self, x: jax.Array, t: jax.Array, cond: Mapping[str, jax.Array] | None = None, train: bool = False
    ) -> jax.Array:
        """As `UNet`, of latents x [B, H, W, C].

        cond holds also:
          tokens, mask: int32 and bool [B, L] of captions, if the network reads them itself,
          text: or what they say, [B, T, E].
          noise_level: int32 [B] below `noise_levels`, if there are any.

        Raises:
          ValueError: as `UNet`.
        """
        cond = dict(cond or {})
        if self.text is not None and "text" not in cond:
            cond |= self.encode_text(condition(cond, "tokens", "captions"), condition(cond, "mask", "captions"))
        return super().__call__(x, t, cond, train)

    def embed(self, t: jax.Array, cond: Mapping[str, jax.Array]) -> jax.Array:
        """Time, and how noisy the small image is, [B, 4 channels]; classes are tokens."""
        emb = TimeEmbedding(self.channels, self.wide, self.param_dtype, name="time_embed")(t)
        if self.noise_levels:
            init = nn.initializers.normal(1.0)
            kinds = (self.wide, self.param_dtype)
            table = nn.Embed(self.noise_levels, 4 * self.channels, *kinds, init, name="noise_level_embed")
            emb = emb + table(condition(cond, "noise_level", "noise_levels"))
        return emb

    def context(self, cond: Mapping[str, jax.Array]) -> jax.Array | None:
        """What transformers read: a caption's tokens [B, T, E], a class's [B, 1, label_width], or both."""
        parts = [cond["text"].astype(self.wide)] if "text" in cond else []
        if self.classes:
            rows, init = self.classes + self.null_class, nn.initializers.normal(1.0)
            table = nn.Embed(rows, self.label_width, self.wide, self.param_dtype, init, name="label_embed")
            parts.append(table(condition(cond, "label", "classes"))[:, None])
        return jnp.concatenate(parts, 1) if parts else None

    def attend(self, name: str, h: jax.Array, context: jax.Array | None = None, level: int | None = None) -> jax.Array:
        """A transformer."""
        heads = h.shape[-1] // self.head_channels if self.head_channels else self.heads
        cross_only = self.middle_cross_only if level is None else level in self.cross_only
        block = in_order(remat(SpatialTransformer, self.remat))
        kinds = (self.platform, self.dtype, self.param_dtype)
        return block(heads, self.depth, cross_only, *kinds, name=name)(h, context)
