"""What a diffusion model is told beside the noisy image: label, caption, small image, known pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from glowdiff.diffusion.config import DiffusionConfig
from glowdiff.diffusion.erase import known_masks
from glowdiff.diffusion.scaling import shrink, to_levels, to_unit
from glowdiff.method import TOKENS, Batch, Cond, folded, image_keys
from glowdiff.spec import DataSpec

ERASE_STREAM = 2**30 + 1  # folded into a key for the regions that are erased of an image


@dataclass(frozen=True)
class Conditions:
    """The conditions of a configured model of images of `spec`; images and masks become floats of `dtype`."""

    config: DiffusionConfig
    spec: DataSpec
    dtype: Any

    @property
    def classes(self) -> int:
        """Labels that it knows, 0 if it looks at none."""
        return len(self.spec.classes) if self.config.class_conditional else 0

    @property
    def _names(self) -> tuple[str, ...]:
        """Of what data sets know of their images: the conditions that the network reads."""
        return ("label",) if self.classes else tuple(TOKENS) if self.config.text else ()

    @property
    def dropout(self) -> float:
        """Share of labels or captions that are withheld in training."""
        return self.config.caption_dropout if self.config.text else self.config.label_dropout

    @property
    def needed(self) -> bool:
        """Whether samples need more than labels."""
        return self.config.text or self.config.inpaint or self.config.low_res is not None

    def prepare(
        self, cond: Cond, n: int, x_0: jax.Array | None = None, erase: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Conditions of n images as the network takes them.

        Args:
          cond: as `Method` takes them; images are integers.
          n: how many images.
          x_0: the images themselves, from -1 to 1, of which small ones are made where none are given.
          erase: keys [n] by which regions are erased of x_0 for inpainting models; None: nothing is known.
        """
        height, width, channels = self.spec.shape
        ready = {name: cond[name] for name in self._names}
        if self.config.low_res is not None:
            if "low_res" in cond:
                ready["low_res"] = self._scaled(cond["low_res"])
            else:
                assert x_0 is not None, "super-resolution needs cond['low_res']"
                ready["low_res"] = shrink(x_0, self.config.low_res)
        if "known" in cond:
            ready |= {"known": self._scaled(cond["known"]), "known_mask": cond["known_mask"].astype(self.dtype)}
        elif self.config.inpaint and x_0 is not None and erase is not None:
            ready |= {"known": x_0, "known_mask": known_masks(erase, height, width).astype(self.dtype)}
        elif self.config.inpaint:
            ready["known"] = jnp.zeros((n, height, width, channels), self.dtype)
            ready["known_mask"] = jnp.zeros((n, height, width, 1), self.dtype)
        return ready

    def withhold(self, cond: Cond) -> dict[str, jax.Array]:
        """Prepared conditions without label or caption, for classifier-free guidance."""
        if self.config.text:
            return {**cond, "mask": jnp.zeros_like(cond["mask"])}
        return {**cond, "label": jnp.full_like(cond["label"], self.classes)}

    def of_images(self, batch: Batch) -> dict[str, Any]:
        """What samples need besides noise, made of real images: see `Method.conditions`."""
        image = jnp.asarray(batch["image"])
        found = {name: batch["cond"][name] for name in self._names}
        if self.config.low_res is not None:
            found["low_res"] = to_levels(shrink(self._scaled(image), self.config.low_res), self.spec.levels)
        if self.config.inpaint:
            masks = known_masks(erase_keys(image_keys(jax.random.key(0), batch)), *self.spec.shape[:2])
            found |= {"known": image, "known_mask": masks.astype(jnp.uint8)}
        return found

    def _scaled(self, image: jax.Array) -> jax.Array:
        return to_unit(image, self.spec.levels, self.dtype)


def erase_keys(keys: jax.Array) -> jax.Array:
    """Of the keys of images [B], those for the regions that are erased."""
    return folded(keys, ERASE_STREAM)
