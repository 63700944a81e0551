"""The denoiser: the UNet of ADM (Dhariwal & Nichol, 2021), of which Improved DDPM's is a special case."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from glowdiff.networks.backbone import Backbone
from glowdiff.networks.blocks import conv3x3, group_norm
from glowdiff.networks.embeddings import TimeEmbedding
from glowdiff.networks.resample import resize_to, upsample
from glowdiff.networks.shards import in_shards


class UNet(Backbone):
    """`module.apply(variables, x, t, cond, train=False, rngs={"dropout": key})`.

    Attributes:
      classes: number of labels; 0: labels are not looked at.
      null_class: one more label, `classes`, stands for "none" (classifier-free guidance, Ho & Salimans, 2021).
      beside: names and channels of the conditions that the first convolution sees beside the image, in order. Small
        ones are enlarged, and of what has a mask `NAME_mask` beside it too it sees what lies where that is 1.
    """

    classes: int = 0
    null_class: bool = False
    beside: tuple[tuple[str, int], ...] = ()

    @nn.compact
    def __call__(
        self, x: jax.Array, t: jax.Array, cond: Mapping[str, jax.Array] | None = None, train: bool = False
    ) -> jax.Array:
        """What the network makes of noisy images.

        Args:
          x: [B, H, W, C], scaled as data are to -1 ... 1, plus noise.
          t: [B], float, as the process gives it to the network.
          cond: `label` int32 [B] if there are classes; images [B, h, w, channels] for each of `beside`, from -1 to 1.
          train: apply dropout, which needs the key "dropout".

        Returns:
          [B, H, W, out_channels], float32 (or wider, where x is).

        Raises:
          ValueError: the image cannot be halved often enough, or a condition is missing or of another size.
        """
        self.check(x)
        cond = cond or {}
        emb, context = self.embed(t, cond), self.context(cond)
        seen = self.encode(self.see(x, cond), emb, train, context)
        h = self.middle(seen[-1], emb, train, context)
        h = self.decode(h, seen, emb, train, context)
        h = nn.silu(group_norm(self.dtype, self.param_dtype, "norm_out")(h))
        return conv3x3(self.out_channels, self.wide, self.param_dtype, "conv_out", zero=True, alone=True)(h)

    def embed(self, t: jax.Array, cond: Mapping[str, jax.Array]) -> jax.Array:
        """Time and class, [B, 4 channels]."""
        emb = TimeEmbedding(self.channels, self.wide, self.param_dtype, name="time_embed")(t)
        if self.classes:
            rows = self.classes + self.null_class
            init = nn.initializers.normal(1.0)
            table = nn.Embed(rows, 4 * self.channels, self.wide, self.param_dtype, init, name="label_embed")
            emb = emb + table(condition(cond, "label", "classes"))
        return emb

    def context(self, cond: Mapping[str, jax.Array]) -> jax.Array | None:
        """What attention blocks read beside the image: nothing."""
        del cond
        return None

    def see(self, x: jax.Array, cond: Mapping[str, jax.Array]) -> jax.Array:
        """The image, and beside it what `beside` names, bilinearly brought to its size."""
        names, parts = dict(self.beside), [x]
        for name, channels in self.beside:
            part = condition(cond, name, name)
            if part.shape[-1] != channels:
                raise ValueError(f"{name} has shape {part.shape}; the network sees {channels} channels of it.")
            mask = f"{name}_mask"
            if mask in names:
                if (part.shape, condition(cond, mask, name).shape) != (x.shape, (*x.shape[:3], 1)):
                    raise ValueError(
                        f"{name} has shape {part.shape} and {mask} {cond[mask].shape}; images of shape {x.shape} ask "
                        f"for {x.shape} and {(*x.shape[:3], 1)}."
                    )
                part = part * cond[mask]
            parts.append(part if part.shape[:3] == x.shape[:3] else resize_to(part, *x.shape[1:3]))
        return jnp.concatenate(parts, -1).astype(self.dtype)

    def decode(
        self, h: jax.Array, seen: list[jax.Array], emb: jax.Array, train: bool, context: jax.Array | None = None
    ) -> jax.Array:
        """The half that doubles the image; every block sees what an input block made, the last one's first."""
        seen = list(seen)
        block = 0
        for level, (channels, attention) in reversed(list(enumerate(self.levels))):
            for i in range(self.res_blocks + 1):
                name = f"output_blocks_{block}"
                # Where memory counts a block joins its inputs itself: they are kept for its gradient, not both.
                parts = (h, seen.pop())
                h = self.residual(
                    f"{name}_res", parts if in_shards() else jnp.concatenate(parts, -1), emb, train, channels
                )
                if attention:
                    h = self.attend(f"{name}_attention", h, context, level)
                if level and i == self.res_blocks:
                    h = self.double(f"{name}_up", h, emb, train)
                block += 1
        return h

    def double(self, name: str, h: jax.Array, emb: jax.Array, train: bool) -> jax.Array:
        """[B, H, W, C] -> [B, 2H, 2W, C]."""
        if self.updown:
            return self.residual(name, h, emb, train, h.shape[-1], upsample)
        h = upsample(h)
        return conv3x3(h.shape[-1], self.dtype, self.param_dtype, name, alone=True)(h)


def condition(cond: Mapping[str, jax.Array], name: str, option: str) -> jax.Array:
    """`cond[name]`, which a network with `option` cannot do without.

    Raises:
      ValueError: it is not there.
    """
    if name not in cond:
        raise ValueError(
            f"The network has {option}, so cond must hold {name!r}; it holds {', '.join(cond) or 'nothing'}."
        )
    return cond[name]
