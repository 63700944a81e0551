"""The discriminator of patches (Isola et al., 2017), which trains autoencoders to sharpness."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

_SLOPE = 0.2  # of the leaky ReLU
_WIDEST = 8  # times the first layer's channels


class PatchDiscriminator(nn.Module):
    """Logits of overlapping patches: real ones are pushed up, made ones down.

    Attributes:
      channels: of the first layer; each layer doubles them, up to eight times as many.
      layers: with normalisation, of which all but the last halve the image, as the first one does.
      dtype: of the convolutions; normalisation and logits are float32, or wider.
    """

    channels: int = 64
    layers: int = 3
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Images [B, H, W, C] from -1 to 1 -> logits [B, h, w].

        In training they are normalised by the batch's own statistics, which move those in `batch_stats`.
        """
        wide = jnp.promote_types(self.dtype, jnp.float32)

        def conv(number: int, features: int, stride: int, x: jax.Array, last: bool = False) -> jax.Array:
            return nn.Conv(
                features, (4, 4), stride, padding=1, use_bias=last or number == 0,
                kernel_init=nn.initializers.normal(0.02), dtype=wide if last else self.dtype,
                param_dtype=self.param_dtype, name=f"conv_{number}",
            )(x)  # fmt: skip

        x = nn.leaky_relu(conv(0, self.channels, 2, x.astype(self.dtype)), _SLOPE)
        for number in range(1, self.layers + 1):
            x = conv(number, self.channels * min(2**number, _WIDEST), 2 if number < self.layers else 1, x)
            x = nn.BatchNorm(
                not train, momentum=0.9, dtype=wide, param_dtype=self.param_dtype, use_fast_variance=False,
                scale_init=lambda *args: 1 + nn.initializers.normal(0.02)(*args), name=f"norm_{number}",
            )(x)  # fmt: skip
            x = nn.leaky_relu(x, _SLOPE)
        return conv(self.layers + 1, 1, 1, x, last=True)[..., 0]
