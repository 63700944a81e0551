"""What the denoiser and the noisy classifier share: the half that halves the image, and the middle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from glowdiff.networks.blocks import AttentionBlock, ResBlock, conv3x3
from glowdiff.networks.plan import Level, check_sides, check_unet, plan
from glowdiff.networks.recomputation import in_order, remat
from glowdiff.networks.resample import downsample
from glowdiff.sharding import Platform


class Backbone(nn.Module):
    """Levels of residual blocks, some of which attend.

    Attributes:
      image_size: nominal side of the images; it says after how many halvings there is attention.
      channels: of the first level, before `channel_mult`.
      out_channels: of the output.
      channel_mult: for each level, its channels are this many times `channels`.
      res_blocks: per level.
      attention: sides of the images, in pixels, at which there is attention. The middle always attends.
      heads: of each attention, unless `head_channels` is given.
      head_channels: channels of a head.
      adagn: time and class scale and shift (AdaGN), see `ResBlock`.
      updown: residual blocks halve and double the images; else strided and ordinary convolutions do.
      new_order: of the attention's channels, see `split_heads`.
      dropout: rate, in residual blocks.
      remat: recompute each block in the backward pass instead of keeping its activations.
      platform: what is compiled for, see `attend`.
      dtype: of convolutions and matrix products. Norms, softmax, embeddings and output are float32, or wider.
    """

    image_size: int
    channels: int
    out_channels: int
    channel_mult: tuple[float, ...]
    res_blocks: int
    attention: tuple[int, ...]
    heads: int = 4
    head_channels: int | None = None
    adagn: bool = True
    updown: bool = True
    new_order: bool = False
    dropout: float = 0.0
    remat: bool = False
    platform: Platform | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @property
    def wide(self) -> Any:
        """The type of what is sensitive to rounding."""
        return jnp.promote_types(self.dtype, jnp.float32)

    @property
    def levels(self) -> tuple[Level, ...]:
        """Largest image first."""
        return plan(self.image_size, self.channels, self.channel_mult, self.attention)

    def check(self, x: jax.Array) -> None:
        """Raise `ConfigError` if the network's sizes or those of x [B, H, W, C] cannot be."""
        sizes = (self.image_size, self.channels, self.channel_mult, self.attention)
        check_unet(*sizes, self.heads, self.head_channels)
        check_sides(x.shape[1], x.shape[2], len(self.channel_mult))

    def encode(self, x: jax.Array, emb: jax.Array, train: bool, context: jax.Array | None = None) -> list[jax.Array]:
        """The activations of every input block, the first convolution included.

        Args:
          x: [B, H, W, C].
          emb: what residual blocks are told, [B, E].
          train: apply dropout.
          context: what attention blocks read beside the image, [B, T, F].
        """
        levels = self.levels
        h = conv3x3(levels[0].channels, self.dtype, self.param_dtype, "input_blocks_0")(x)
        seen = [h]
        for level, (channels, attention) in enumerate(levels):
            for _ in range(self.res_blocks):
                name = f"input_blocks_{len(seen)}"
                h = self.residual(f"{name}_res", h, emb, train, channels)
                if attention:
                    h = self.attend(f"{name}_attention", h, context, level)
                seen.append(h)
            if level < len(levels) - 1:
                h = self.halve(f"input_blocks_{len(seen)}_down", h, emb, train)
                seen.append(h)
        return seen

    def middle(self, h: jax.Array, emb: jax.Array, train: bool, context: jax.Array | None = None) -> jax.Array:
        """The blocks between the halves: [B, h, w, C] -> [B, h, w, C]."""
        h = self.residual("middle_res_0", h, emb, train, h.shape[-1])
        h = self.attend("middle_attention", h, context)
        return self.residual("middle_res_1", h, emb, train, h.shape[-1])

    def residual(
        self,
        name: str,
        h: jax.Array | tuple[jax.Array, ...],
        emb: jax.Array,
        train: bool,
        channels: int,
        resample: Callable[[jax.Array], jax.Array] | None = None,
    ) -> jax.Array:
        """A residual block."""
        block = in_order(remat(ResBlock, self.remat, static_argnums=(3,)))
        kinds = (self.dtype, self.param_dtype)
        return block(channels, self.adagn, self.dropout, resample, *kinds, name=name)(h, emb, train)

    def attend(self, name: str, h: jax.Array, context: jax.Array | None = None, level: int | None = None) -> jax.Array:
        """An attention block; `level` is its number, None that of the middle, and no matter here."""
        del level
        heads = h.shape[-1] // self.head_channels if self.head_channels else self.heads
        block = in_order(remat(AttentionBlock, self.remat))
        return block(heads, self.new_order, self.platform, self.dtype, self.param_dtype, name=name)(h, context)

    def halve(self, name: str, h: jax.Array, emb: jax.Array, train: bool) -> jax.Array:
        """[B, H, W, C] -> [B, H/2, W/2, C]."""
        if self.updown:
            return self.residual(name, h, emb, train, h.shape[-1], downsample)
        return conv3x3(h.shape[-1], self.dtype, self.param_dtype, name, stride=2, alone=True)(h)
