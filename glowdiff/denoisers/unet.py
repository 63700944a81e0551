"""The denoiser: the UNet of ADM (Dhariwal & Nichol, 2021), of which Improved DDPM's is a special case."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from glowdiff.denoisers.backbone import Backbone
from glowdiff.denoisers.blocks import conv3x3, group_norm
from glowdiff.denoisers.embeddings import TimeEmbedding
from glowdiff.denoisers.resample import resize_to, upsample


class UNet(Backbone):
    """`module.apply(variables, x, t, cond, train=False, rngs={"dropout": key})`.

    Attributes:
      heads_up: heads of the attention in the half that doubles the image; None: as many as in the other one.
      classes: number of labels; 0: labels are not looked at.
      null_class: one more label, `classes`, stands for "none" (classifier-free guidance, Ho & Salimans, 2021).
      low_res: super-resolution: the network sees `cond["low_res"]` beside the image.
    """

    heads_up: int | None = None
    classes: int = 0
    null_class: bool = False
    low_res: bool = False

    @nn.compact
    def __call__(
        self, x: jax.Array, t: jax.Array, cond: Mapping[str, jax.Array] | None = None, train: bool = False
    ) -> jax.Array:
        """What the network makes of noisy images.

        Args:
          x: [B, H, W, C], scaled as data are to -1 ... 1, plus noise.
          t: [B], float, as the process gives it to the network.
          cond: `label` int32 [B] if there are classes; `low_res` [B, h, w, C], from -1 to 1, for super-resolution.
          train: apply dropout, which needs the key "dropout".

        Returns:
          [B, H, W, out_channels], float32 (or wider, where x is).

        Raises:
          ValueError: the image cannot be halved often enough, or the condition is missing.
        """
        self.check(x)
        emb = self.embed(t, cond or {})
        seen = self.encode(self.see(x, cond or {}), emb, train)
        h = self.middle(seen[-1], emb, train)
        h = self.decode(h, seen, emb, train)
        h = nn.silu(group_norm(self.dtype, self.param_dtype, "norm_out")(h))
        return conv3x3(self.out_channels, self.wide, self.param_dtype, "conv_out", zero=True)(h)

    def check(self, x: jax.Array) -> None:
        """As `Backbone.check`; both halves' heads must divide their channels."""
        super().check(x)
        if self.heads_up is not None:
            self.clone(heads=self.heads_up, heads_up=None, parent=None).check(x)

    def embed(self, t: jax.Array, cond: Mapping[str, jax.Array]) -> jax.Array:
        """Time and class, [B, 4 channels]."""
        emb = TimeEmbedding(self.channels, self.wide, self.param_dtype, name="time_embed")(t)
        if self.classes:
            rows = self.classes + self.null_class
            init = nn.initializers.normal(1.0)
            table = nn.Embed(rows, 4 * self.channels, self.wide, self.param_dtype, init, name="label_embed")
            emb = emb + table(_condition(cond, "label", "classes"))
        return emb

    def see(self, x: jax.Array, cond: Mapping[str, jax.Array]) -> jax.Array:
        """The image, and beside it what the small one looks like at its size."""
        if self.low_res:
            x = jnp.concatenate([x, resize_to(_condition(cond, "low_res", "low_res"), *x.shape[1:3])], -1)
        return x.astype(self.dtype)

    def decode(self, h: jax.Array, seen: list[jax.Array], emb: jax.Array, train: bool) -> jax.Array:
        """The half that doubles the image; every block sees what an input block made, the last one's first."""
        seen = list(seen)
        heads = self.heads_up or self.heads
        block = 0
        for level, (channels, attention) in reversed(list(enumerate(self.levels))):
            for i in range(self.res_blocks + 1):
                name = f"output_blocks_{block}"
                h = self.residual(f"{name}_res", jnp.concatenate([h, seen.pop()], -1), emb, train, channels)
                if attention:
                    h = self.attend(f"{name}_attention", h, heads)
                if level and i == self.res_blocks:
                    h = self.double(f"{name}_up", h, emb, train)
                block += 1
        return h

    def double(self, name: str, h: jax.Array, emb: jax.Array, train: bool) -> jax.Array:
        """[B, H, W, C] -> [B, 2H, 2W, C]."""
        if self.updown:
            return self.residual(name, h, emb, train, h.shape[-1], upsample)
        h = upsample(h)
        return conv3x3(h.shape[-1], self.dtype, self.param_dtype, name)(h) if self.conv_resample else h


def _condition(cond: Mapping[str, jax.Array], name: str, option: str) -> jax.Array:
    if name not in cond:
        raise ValueError(
            f"The network has {option}, so cond must hold {name!r}; it holds {', '.join(cond) or 'nothing'}."
        )
    return cond[name]
