"""What a diffusion model is told beside the noisy image, row by row, and how its network takes it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from glowdiff.diffusion.augmentation import Augment, level_row
from glowdiff.diffusion.config import DiffusionConfig
from glowdiff.diffusion.erase import known_masks
from glowdiff.diffusion.scaling import shrink, to_unit
from glowdiff.method import (
    Batch,
    Codec,
    Cond,
    Condition,
    Variables,
    caption_rows,
    folded,
    label_row,
    made_of_images,
    size_of,
)
from glowdiff.samplers.levels import expand
from glowdiff.spec import DataSpec

# Images that commands read from files, by the name of their row, and what they are.
FILES = {"low_res": "what a super-resolution model enlarges: a picture, or samples (.npz)"}
NOTHING: Cond = MappingProxyType({})
ERASE_STREAM = 2**30 + 1  # folded into a key for the regions that are erased of an image,
CODEC_STREAM = 2**30 + 2  # and for what its latents are drawn with
HOLE, SURROUNDINGS = "hole", "surroundings"  # what a network for inpainting in latents sees


def rows(config: DiffusionConfig, spec: DataSpec, latents: tuple[int, int, int]) -> tuple[Condition, ...]:
    """The conditions of a configured model of images of `spec`, which works in x_0 of the shape `latents`.

    Any model takes known pixels, which are then pasted into its predictions (inpainting), and a source to vary
    (SDEdit); one with `inpaint` sees what is known. In latents that is a mask of what is painted, and the latents of
    the image in which it is grey.
    """
    (height, width, channels), levels = spec.shape, spec.levels
    takes: list[Condition] = []
    if config.class_conditional:
        takes.append(label_row(spec, withheld=config.label_dropout))
    if config.captions is not None:
        text = config.captions
        takes += caption_rows(text.context, text.vocab_size, withheld=config.caption_dropout)

    def image(batch: Batch, keys: jax.Array) -> jax.Array:
        del keys
        return batch["image"]

    def mask(batch: Batch, keys: jax.Array) -> jax.Array:
        del batch
        return known_masks(folded(keys, ERASE_STREAM), height, width)

    known = Condition("known", spec.shape, jnp.uint8, levels, image=True, coded=True)
    known_mask = Condition("known_mask", (height, width, 1), jnp.uint8, 2)
    if config.inpaint:
        seen = 0 if config.latent else channels
        known = known._replace(of_images=image, channels=seen)
        known_mask = known_mask._replace(of_images=mask, channels=min(seen, 1))
    takes += [known, known_mask]
    if config.inpaint and config.latent:
        takes.append(Condition(HOLE, (*latents[:2], 1), jnp.float32, derived=True, channels=1))
        takes.append(Condition(SURROUNDINGS, latents, jnp.float32, derived=True, channels=latents[-1]))
    if config.low_res is not None:
        side = config.low_res

        def small(batch: Batch, keys: jax.Array) -> jax.Array:
            del keys
            return shrink(jnp.asarray(batch["image"]).astype(jnp.float32), side)

        shape = (side, side, channels)
        takes.append(
            Condition("low_res", shape, jnp.uint8, levels, of_images=small, needed=True, image=True, channels=channels)
        )
        if config.noise_levels:
            takes.append(level_row(config.noise_levels, config.max_noise_level))
    takes.append(Condition("source", spec.shape, jnp.uint8, levels, image=True, coded=True))
    return tuple(takes)


class Conditions(NamedTuple):
    """Rows, as the network takes them: images from -1 to 1, or as latents; masks as numbers."""

    takes: tuple[Condition, ...]
    levels: int
    dtype: Any
    codec: Codec
    augment: Augment | None = None  # what is enlarged is given noise

    @property
    def can_withhold(self) -> bool:
        """Whether there is anything to guide away from."""
        return any(each.none is not None for each in self._optional)

    @property
    def _optional(self) -> list[Condition]:
        """The rows that may be withheld."""
        return [each for each in self.takes if each.withheld]

    def of_batch(
        self, batch: Batch, keys: jax.Array | None = None, variables: Variables | None = None
    ) -> dict[str, jax.Array]:
        """Those of real images; with keys [B] also what a model may be told and need not, such as known pixels."""
        made = [each for each in self.takes if each.needed or each.of_data or keys is not None]
        n = size_of(batch)
        none = jnp.zeros(n, jnp.int32) if keys is None else keys  # what is needed is made without chance
        return self.prepare(made_of_images(made, batch, none), n, variables, keys)

    def prepare(
        self, cond: Cond, n: int, variables: Variables | None, keys: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Those that callers give, of n images; what the first convolution expects and is not told is 0.

        Args:
          cond: by name.
          n: images.
          variables: of the codec; None, to initialise: latents are 0.
          keys: [n], with which latents are drawn; None: their means.
        """
        ready: dict[str, jax.Array] = {}
        for each in self.takes:
            if each.instead:
                continue
            if each.name in cond:
                ready[each.name] = self._scaled(each, cond, variables, keys)
            elif each.needed or each.of_data:
                raise ValueError(f"cond must hold {each.name!r}; it holds {', '.join(cond) or 'nothing'}.")
            elif each.channels:
                ready[each.name] = jnp.zeros((n, *each.shape), self.dtype)
        if self.augment is not None:
            ready = self.augment(ready, keys)
        return self._inpainting(ready, n, variables, keys) if SURROUNDINGS in ready else ready

    def withhold(self, cond: Mapping[str, jax.Array], given: Cond = NOTHING) -> dict[str, jax.Array]:
        """Prepared conditions without those that may be withheld, for classifier-free guidance.

        Args:
          cond: prepared.
          given: as callers give them; what is meant `instead` of one of them, a negative prompt, takes its place.
        """
        free = {**cond, **{each.name: jnp.full_like(cond[each.name], each.none or 0) for each in self._optional}}
        others = (each for each in self.takes if each.instead and each.name in given)
        return free | {each.instead: self._scaled(each, given, None, None) for each in others}

    def drop(self, key: jax.Array, cond: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """Prepared conditions of which every example may lack some, each row at its own rate."""
        free, dropped = self.withhold(cond), dict(cond)
        for number, each in enumerate(self._optional):
            value = cond[each.name]
            own = jax.random.fold_in(key, number) if number else key
            lacks = jax.random.bernoulli(own, each.withheld, value.shape[:1])
            dropped[each.name] = jnp.where(expand(lacks, value), free[each.name], value)
        return dropped

    def _scaled(self, each: Condition, cond: Cond, variables: Variables | None, keys: jax.Array | None) -> jax.Array:
        array = cond[each.name]
        if each.coded and not self.codec.bounded:
            if each.name == "known":  # whatever is in the hole must not matter, so it is grey
                array = jnp.where(cond["known_mask"] > 0, array, (self.levels - 1) / 2)
            return self._latents(variables, keys, array)
        if each.image:
            return to_unit(array, self.levels, self.dtype)
        if each.name == "known_mask":
            array = _nearest(array, self.codec.shape)
        return array.astype(self.dtype) if each.dtype == jnp.uint8 else array

    def _inpainting(
        self, ready: dict[str, jax.Array], n: int, variables: Variables | None, keys: jax.Array | None
    ) -> dict[str, jax.Array]:
        """With what a network for inpainting in latents sees instead of known pixels, of which none is pasted."""
        seen = dict(ready)
        around, mask = seen.pop("known", None), seen.pop("known_mask", None)
        if around is None or mask is None:  # nothing is known
            shape = next(each.shape for each in self.takes if each.name == "known")
            around = self._latents(variables, keys, jnp.full((n, *shape), (self.levels - 1) / 2, self.dtype))
            mask = jnp.zeros((n, *self.codec.shape[:2], 1), self.dtype)
        return {**seen, HOLE: 1 - mask, SURROUNDINGS: around}

    def _latents(self, variables: Variables | None, keys: jax.Array | None, images: jax.Array) -> jax.Array:
        if variables is None:
            return jnp.zeros((images.shape[0], *self.codec.shape), self.dtype)
        keys = None if keys is None else folded(keys, CODEC_STREAM)
        return self.codec.encode(variables, keys, images)


def _nearest(mask: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Masks [B, H, W, 1] at the size of latents: each takes its first pixel, as the originals' do."""
    down, right = (full // small for full, small in zip(mask.shape[1:3], shape[:2], strict=True))
    return mask[:, ::down, ::right]
