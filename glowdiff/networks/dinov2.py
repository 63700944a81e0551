"""DINOv2's Vision Transformer (Oquab et al., 2023), without registers: features that were learned without labels."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from glowdiff.networks.interpolation import cubic
from glowdiff.networks.transformer import layer_norm

_norm = functools.partial(layer_norm, jnp.float32, jnp.float32, epsilon=1e-6)
_OFFSET = (
    0.1  # patches that the originals add to a grid when they interpolate, against rounding; it moves all positions
)


class DINOv2(nn.Module):
    """The network, for images of any size that is whole patches.

    Attributes:
      image_size: for which there is a table of positions; for others it is interpolated.
      patch: the patches' side; it divides that.
      width: channels.
      layers: blocks.
      heads: of each attention.
      hidden: channels within an MLP.
      gated: MLPs are SwiGLU's.
    """

    image_size: int
    patch: int
    width: int
    layers: int
    heads: int
    hidden: int
    gated: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        """What it sees in images [B, H, W, 3], normalised as ImageNet's.

        Returns:
          `class` [B, width], the class token behind the last norm, and `patches` [B, H W / patch^2, width].

        Raises:
          ValueError: the images are not whole patches.
        """
        b, height, width, _ = x.shape
        if height % self.patch or width % self.patch:
            raise ValueError(f"images of {height}x{width} pixels are not whole patches of {self.patch}.")
        sides, init = (self.patch, self.patch), nn.initializers.normal(0.02)
        h = nn.Conv(self.width, sides, sides, padding="VALID", kernel_init=init, name="patches")(x)
        token = self.param("class", init, (self.width,))
        table = self.param("positions", init, ((self.image_size // self.patch) ** 2 + 1, self.width))
        h = jnp.concatenate([jnp.broadcast_to(token, (b, 1, self.width)), h.reshape(b, -1, self.width)], 1)
        h = h + positions(table, height // self.patch, width // self.patch)[None]
        blocks = nn.scan(_Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=self.layers)
        h, _ = blocks(self.heads, self.hidden, self.gated, name="blocks")(h, None)
        h = _norm(name="norm_out")(h)
        return {"class": h[:, 0], "patches": h[:, 1:]}


def positions(table: jax.Array, rows: int, columns: int) -> jax.Array:
    """Of the class token and a grid of patches, [1 + rows columns, C], from a table [1 + side^2, C]: bicubic."""
    side = round((len(table) - 1) ** 0.5)
    if (rows, columns) == (side, side):
        return table
    by_row, by_column = (cubic(side, n, step=side / (n + _OFFSET)).astype("float32") for n in (rows, columns))
    grid = table[1:].reshape(side, side, -1)
    grid = jnp.einsum("hu,wv,uvc->hwc", by_row, by_column, grid, precision=jax.lax.Precision.HIGHEST)
    return jnp.concatenate([table[:1], grid.reshape(rows * columns, -1)])


class _Block(nn.Module):
    """Attention and an MLP, each behind a norm and scaled channel by channel before it is added."""

    heads: int
    hidden: int
    gated: bool

    @nn.compact
    def __call__(self, x: jax.Array, _: None = None) -> tuple[jax.Array, None]:
        """[B, T, C] -> [B, T, C], and nothing: the form that `nn.scan` takes."""
        b, t, c = x.shape

        def scaled(h: jax.Array, name: str) -> jax.Array:
            return h * self.param(name, nn.initializers.constant(1e-5), (c,))[None, None]

        h = _norm(name="norm_attention")(x)
        query, key, value = (
            nn.Dense(c, name=name)(h).reshape(b, t, self.heads, -1) for name in ("query", "key", "value")
        )
        h = jax.nn.dot_product_attention(query, key, value).reshape(b, t, c)
        x = x + scaled(nn.Dense(c, name="proj_out")(h), "scale_attention")
        h = nn.Dense(self.hidden * (2 if self.gated else 1), name="mlp_in")(_norm(name="norm_mlp")(x))
        if self.gated:
            gate, h = jnp.split(h, 2, axis=-1)
            h = nn.silu(gate) * h
        else:
            h = nn.gelu(h, approximate=False)
        return x + scaled(nn.Dense(c, name="mlp_out")(h), "scale_mlp"), None
