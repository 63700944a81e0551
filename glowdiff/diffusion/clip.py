"""CLIP of noised images as a `Method`: it draws nothing, it guides by captions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from glowdiff.diffusion.process import Process
from glowdiff.diffusion.timesteps import spread
from glowdiff.method import Aux, Batch, Codec, Cond, Condition, Guides, Method, Variables, image_keys
from glowdiff.samplers.levels import as_dtype, rows


class Towers(NamedTuple):
    """A CLIP as pure functions, see `glowdiff.networks.clip.CLIP`."""

    init: Callable[..., Variables]  # (key, x_t, t [B], tokens, mask) -> variables
    image: Callable[..., jax.Array]  # (variables, x_t, t [B]) -> z [B, E]
    text: Callable[..., jax.Array]  # (variables, tokens [B, L], mask [B, L]) -> z [B, E]
    scale: Callable[[Variables], jax.Array]  # of the cosines
    dtype: Any  # of what comes in and out, at least float32


def clip_method(
    towers: Towers, process: Process, codec: Codec, takes: tuple[Condition, ...], *, noised: bool = True
) -> Method:
    """The `Method` of a CLIP, trained on images at uniform timesteps (Nichol et al., 2022, section 4.3).

    Its scores are those of an image among the images of its evaluation batch: the loss and the accuracy (is the nearest
    caption its own?) on images noised at all timesteps evenly, and the accuracy at the first timestep, which leaves
    them almost clean.

    Args:
      towers: give the embeddings.
      process: how noise is added; that of the diffusion models it shall guide.
      codec: between images and what noise is added to, likewise.
      takes: the rows of captions.
      noised: False: plain CLIP, to which t is always 0.
    """
    dtype = towers.dtype
    levels = as_dtype(process.training_grid().now, dtype)

    def images_at(variables: Variables, x_0: jax.Array, t: jax.Array, noise: jax.Array) -> jax.Array:
        level = rows(levels, t)
        return towers.image(variables, process.q_sample(x_0, level, noise), level.t)

    def init(key: jax.Array, batch: Batch) -> Variables:
        x_0, cond = codec.encode({}, key, batch["image"]), batch["cond"]
        return towers.init(key, x_0, jnp.zeros(x_0.shape[0], dtype), cond["tokens"], cond["mask"])

    def loss(variables: Variables, key: jax.Array, batch: Batch) -> tuple[jax.Array, Aux]:
        t_key, noise_key = jax.random.split(key)
        x_0, cond = codec.encode(variables, key, batch["image"]), batch["cond"]
        t = jax.random.randint(t_key, x_0.shape[:1], 0, process.timesteps if noised else 1)
        noise = batch["noise"] if "noise" in batch else jax.random.normal(noise_key, x_0.shape, dtype)
        z_image = images_at(variables, x_0, t, noise)
        scale, z_text = towers.scale(variables), towers.text(variables, cond["tokens"], cond["mask"])
        nats, right = contrast(z_image, z_text, scale, same_captions(cond["tokens"], cond["mask"]))
        return nats.mean(), Aux({"accuracy": right.mean(), "logit_scale": scale}, {})

    def scores(variables: Variables, key: jax.Array, batch: Batch) -> dict[str, jax.Array]:
        x_0, cond, real = codec.encode(variables, key, batch["image"]), batch["cond"], batch["mask"]
        t = spread(batch["index"], process.timesteps if noised else 1)
        noise = jax.vmap(lambda k: jax.random.normal(k, x_0.shape[1:], dtype))(image_keys(key, batch))
        scale, z_text = towers.scale(variables), towers.text(variables, cond["tokens"], cond["mask"])
        same = same_captions(cond["tokens"], cond["mask"])
        (nats, right), (_, right_clean) = (
            contrast(images_at(variables, x_0, at, noise), z_text, scale, same, real) for at in (t, jnp.zeros_like(t))
        )
        return {"loss": nats, "accuracy": right, "accuracy_clean": right_clean}

    def log_prob(variables: Variables, x_t: jax.Array, t: jax.Array, cond: Cond) -> jax.Array:
        """The scaled cosine, [B]: log p(caption | x_t), not normalised over captions."""
        z_text = embed(variables, cond)["clip_text"]
        z_image = towers.image(variables, x_t, t if noised else jnp.zeros_like(t))
        return towers.scale(variables) * (z_text * z_image).sum(-1)

    def embed(variables: Variables, cond: Cond) -> Cond:
        """The conditions with the captions' embeddings, `clip_text` [B, E]; those that are there stay."""
        if "clip_text" in cond:
            return cond
        return {**cond, "clip_text": towers.text(variables, cond["clip_tokens"], cond["clip_mask"])}

    return Method(init, loss, scores, takes=takes, guides=Guides(log_prob, embed))


def same_captions(tokens: jax.Array, mask: jax.Array) -> jax.Array:
    """Which captions [B, L] are equal, whatever their padding: bool [B, B]."""
    tokens = jnp.where(mask, tokens, -1)
    return (tokens[:, None] == tokens[None]).all(-1)


def contrast(
    z_image: jax.Array, z_text: jax.Array, scale: jax.Array, same: jax.Array, real: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """The symmetric contrastive loss (Radford et al., 2021, figure 3) of each pair, in nats.

    Equal captions are not negatives of each other: they share the target evenly. Under `jit`, B is the global batch,
    whichever device holds a row.

    Args:
      z_image: [B, E], of length 1.
      z_text: of the captions, likewise.
      scale: of the cosines, a scalar.
      same: bool [B, B], which captions are equal.
      real: bool [B], False for rows that only fill the batch, which count for none; None: all are real.

    Returns:
      The cross-entropies, mean of image to caption and caption to image, [B]; and whether the caption nearest to the
      image is its own, bool [B].
    """
    # Cosines times 100 decide the softmax: bfloat16's error would be a factor of up to 1.5.
    logits = scale * jnp.einsum("ie,je->ij", z_image, z_text, precision=jax.lax.Precision.HIGHEST)
    if real is not None:
        same = same & real[None]
        none = jnp.finfo(logits.dtype).min / 2
        by_image, by_text = (jnp.where(real[None], rows, none) for rows in (logits, logits.T))
    else:
        by_image, by_text = logits, logits.T
    targets = same / same.sum(-1, keepdims=True)
    nats = [-(targets * jax.nn.log_softmax(rows)).sum(-1) for rows in (by_image, by_text)]
    nearest = by_image.argmax(-1)
    right = jnp.take_along_axis(same, nearest[:, None], axis=1)[:, 0]
    return (nats[0] + nats[1]) / 2, right
