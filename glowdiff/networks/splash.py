"""Attention on TPUs that keeps its weights on the chip (FlashAttention; Dao et al., 2022): JAX's kernels for them.

XLA writes the weights of all pairs of tokens to memory, in both passes. Here only outputs and the sums of the softmax
leave the chip, and the backward pass computes the weights again, block by block. Of the kernels that come with JAX,
"splash attention" moves fewest bytes: it takes tokens along the lanes of a register, which heads of 64 channels would
half fill, and one backward kernel makes all three gradients from one computation of the weights.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from glowdiff.sharding import BATCH

_LANES = 128  # of a TPU's registers: blocks of tokens are multiples of them
_BLOCK = 512  # tokens by which weights are computed at a time: 1 MiB in float32
_RESIDENT = 2048  # keys and values on the chip at a time
_SUBLANES = 16  # of a tile in bfloat16: channels of a head are multiples of them, or padded to be


def takes(query: jax.Array, key: jax.Array, mesh: Mesh) -> bool:
    """Whether `attend` can compute these shapes."""
    batch, tokens, _, channels = query.shape
    return (
        query.dtype == jnp.bfloat16
        and tokens % _LANES == 0
        and key.shape[1] % _LANES == 0
        and channels <= _LANES
        and batch % mesh.size == 0
    )


def attend(query: jax.Array, key: jax.Array, value: jax.Array, mesh: Mesh) -> jax.Array:
    """Scaled dot-product attention [B, T, heads, channels of a head], softmax in float32.

    Args:
      query: bfloat16 [B, T, heads, channels of a head].
      key: [B, S, heads, channels of a head].
      value: likewise.
      mesh: over which the batch is split.
    """
    kernel, channels = _kernel(query.shape[2], query.shape[1], key.shape[1]), query.shape[-1]

    def padded(array: jax.Array) -> jax.Array:
        """[B, T, heads, C] -> [B, heads, T, C or a few more]: zeros add nothing to any product."""
        return jnp.pad(jnp.swapaxes(array, 1, 2), [(0, 0)] * 3 + [(0, -channels % _SUBLANES)])

    def on_one_device(*arrays: jax.Array) -> jax.Array:
        return jnp.swapaxes(jax.vmap(kernel)(*map(padded, arrays))[..., :channels], 1, 2)

    # The kernels do not say over which axes their results vary, so that cannot be checked.
    on_all = jax.shard_map(on_one_device, mesh=mesh, in_specs=BATCH, out_specs=BATCH, check_vma=False)
    return on_all(query * query.shape[-1] ** -0.5, key, value)  # nor do they scale


def _kernel(heads: int, queries: int, keys: int) -> Any:
    """[heads, T, channels] and twice [heads, S, channels] -> [heads, T, channels], differentiable."""
    # Only programs for TPUs wait for this import.
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel, splash_attention_mask

    block, resident = _divisor(queries, _BLOCK), _divisor(keys, _RESIDENT)
    compute = _divisor(resident, _BLOCK)
    tokens_last = splash_attention_kernel.QKVLayout.SEQ_MINOR
    sizes = splash_attention_kernel.BlockSizes(
        block_q=block,
        block_kv=resident,
        block_kv_compute=compute,
        block_q_dkv=block,
        block_kv_dkv=resident,
        block_kv_dkv_compute=compute,
        use_fused_bwd_kernel=True,
        q_layout=tokens_last,
        k_layout=tokens_last,
        v_layout=tokens_last,
    )
    mask = splash_attention_mask.MultiHeadMask([splash_attention_mask.FullMask((queries, keys))] * heads)
    return splash_attention_kernel.make_splash_mha_single_device(mask, block_sizes=sizes)


def _divisor(tokens: int, most: int) -> int:
    """The longest block, whole lanes and no more than `most` tokens, of which there is a whole number."""
    return max(block for block in range(_LANES, most + 1, _LANES) if tokens % block == 0)
