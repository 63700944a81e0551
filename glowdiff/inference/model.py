"""A trained model for scripts: a method bound to its parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from glowdiff.inference import conditions
from glowdiff.inference.drawer import Sampler, Samples, as_float32, label_array, resolve
from glowdiff.inference.request import ask
from glowdiff.method import Latents, SampleOptions
from glowdiff.trained import Trained, restore


class Model:
    """A method, its variables, and the facts about its data.

    `model.method.sample`, `.encode`, `.bits_per_dim` and `.latents` are pure functions for a `jit` or `vmap` of your
    own; they take `model.variables`. Images are uint8 [N, H, W, C] with values 0 ... `model.spec.levels` - 1.

    Attributes:
      method: the pure functions.
      variables: what they take.
      config: the run's configuration.
      spec: facts about the data.
      mesh: the devices.
      step: training steps that the variables have seen.
      tokenizer: of captions, if the model reads them.
    """

    def __init__(self, trained: Trained) -> None:
        """Of what a workdir holds, see `glowdiff.trained.restore`."""
        method = trained.method
        self.method, self.variables, self.config, self.spec, self.mesh = trained[:5]
        self.step, self.tokenizer = trained.step, trained.tokenizer
        self._sampler = Sampler(method, self.mesh) if method.sample else None
        self._film = Sampler(method, self.mesh, film=True) if method.film else None
        self._sample = jax.jit(method.sample) if method.sample else None
        self._unrounded = jax.jit(method.unrounded) if method.unrounded else None
        self._encode = jax.jit(method.encode) if method.encode else None
        self._bits_per_dim = jax.jit(method.bits_per_dim) if method.bits_per_dim else None

    def sample(self, key: jax.Array, n: int, **choices: Any) -> np.ndarray:
        """Draw n images, uint8 [n, H, W, C]; image i depends on `key` and i alone. Choices are those of `draw`."""
        return self.draw(key, n, **choices).images

    def draw(
        self,
        key: jax.Array,
        n: int,
        *,
        label: int | str | np.ndarray | None = None,
        prompt: str | Sequence[str] | None = None,
        batch: int | None = None,
        low_res: np.ndarray | None = None,
        image: np.ndarray | None = None,
        mask: np.ndarray | None = None,
        source: np.ndarray | None = None,
        strength: float | None = None,
        classifier: Model | None = None,
        classifier_scale: float = 1.0,
        clip: Model | None = None,
        clip_scale: float = 1.0,
        frames: int | None = None,
        **options: Any,
    ) -> Samples:
        """Draw n images and say of which classes they are.

        Args:
          key: a `jax.random.key`, or a key for each image, [n].
          n: how many.
          label: one class for all or int [n], for models with labels, or "none" for those that can do without; None
            draws them.
          prompt: a caption for all, or n of them, for models that read captions or are guided by CLIP; None: none.
          batch: images at a time; None: all at once. A new number compiles once, nothing else does.
          low_res: of super-resolution models: images uint8 [n, h, w, C] to enlarge.
          image: to inpaint, uint8 [n, H, W, C] or one for all; any diffusion model can, those trained for it better.
          mask: which pixels of `image` are painted anew, [n, H, W] or one for all: what is not 0. The others stay.
          source: to vary (SDEdit), uint8 [n, H, W, C] or one for all.
          strength: of SDEdit, the share of the noise that `source` is given: little changes little, 1 nearly all. What
            is compiled depends on it.
          classifier: guides the samples towards their labels.
          classifier_scale: how strongly (Dhariwal & Nichol, 2021, table 4: 0.5 to 10).
          clip: a CLIP model of noised images guides the samples towards their prompts.
          clip_scale: how strongly.
          frames: draw films instead, uint8 [n, frames, H, W, C]: what the samples were going to be, along the way; at
            most as many pictures as the denoiser is evaluated.
          **options: keys of the configuration's `sampling` section, such as `temperature`, `sampler`, `steps`, `eta`,
            `guidance_scale`; None, or left out: as configured. Names and steps compile once each, numbers never.

        Raises:
          ConfigError: see `glowdiff.inference.drawer`; an option that the model has no use for; a guide of other
            images or other noise; prompts or images that the model cannot take.
          ValueError: the method draws no samples.
        """
        sampler = self._sampler if frames is None else self._film
        if sampler is None:
            raise ValueError(
                f"{self.config.method} draws no "
                + ("films: its samples have no steps." if self._sampler else "samples: it is a guide for others.")
            )
        asked = ask(
            self,
            n,
            prompt=prompt,
            image=image,
            mask=mask,
            source=source,
            strength=strength,
            classifier=classifier,
            classifier_scale=classifier_scale,
            clip=clip,
            clip_scale=clip_scale,
            frames=frames,
            **options,
        )
        cond = asked.cond | conditions.small_images(self.config, self.spec, low_res, n)
        return sampler(self.variables, key, n, label=label, cond=cond, options=asked.options, batch=batch)

    def encode(
        self,
        images: np.ndarray,
        *,
        label: int | str | np.ndarray | None = None,
        prompt: str | Sequence[str] | None = None,
        low_res: np.ndarray | None = None,
        **options: Any,
    ) -> Latents:
        """Latents of images uint8 [N, H, W, C].

        `decode` gives the same images back: exactly from flows, and from diffusion models the better the more `steps`.

        Args:
          images: with values 0 ... levels - 1.
          label: of models with labels.
          prompt: as of `draw`.
          low_res: of super-resolution models, as of `draw`; None: the images themselves, made smaller.
          **options: see `draw`.

        Raises:
          ValueError: the images have another shape or other values than the model's; or it has no `encode`.
        """
        if self._encode is None:
            raise ValueError(f"{self.config.method} has no latents of given images.")
        batch = self._batch(images, label, prompt)
        if low_res is not None:
            batch["cond"] |= conditions.small_images(self.config, self.spec, low_res, len(images))
        return self._encode(self.variables, jax.random.key(0), batch, self.inverse_options(**options))

    def decode(
        self,
        latents: Latents,
        *,
        label: int | str | np.ndarray | None = None,
        prompt: str | Sequence[str] | None = None,
        low_res: np.ndarray | None = None,
        **options: Any,
    ) -> np.ndarray:
        """Images uint8 [N, H, W, C] of latents, without any randomness; options as of `draw`."""
        if self._sample is None:
            raise ValueError(f"{self.config.method} draws no samples: it is a guide for others.")
        n = jax.tree.leaves(latents)[0].shape[0]
        cond = self._cond(n, label) | self._conditions(n, prompt=prompt, low_res=low_res)
        chosen = self.inverse_options(**options)
        return np.asarray(self._sample(self.variables, jax.random.key(0), latents, cond, chosen))

    def decode_unrounded(self, latents: Latents, *, label: int | str | np.ndarray | None = None) -> np.ndarray:
        """Images float [N, H, W, C] of latents before they are rounded, on the scale of `decode`'s integers.

        Raises:
          ValueError: the method's samples are not rounded from anything (see `Method.unrounded`).
        """
        if self._unrounded is None:
            raise ValueError(f"{self.config.method} gives no images before rounding.")
        n = jax.tree.leaves(latents)[0].shape[0]
        return np.asarray(self._unrounded(self.variables, latents, self._cond(n, label)))

    def bits_per_dim(
        self,
        images: np.ndarray,
        *,
        label: int | str | np.ndarray | None = None,
        prompt: str | Sequence[str] | None = None,
        key: jax.Array | None = None,
        steps: int | str | None = None,
    ) -> np.ndarray:
        """Negative log-likelihood of images uint8 [N, H, W, C], in bits per dimension [N]: exact, or an upper bound.

        Args:
          images: with values 0 ... levels - 1.
          label: of models with labels.
          prompt: as of `draw`.
          key: of the dequantisation noise, or the noise of the bound; None: key 0.
          steps: of diffusion models: the bound of a sampler with so many steps; None: all timesteps.
        """
        if self._bits_per_dim is None:
            raise ValueError(f"{self.config.method} has no likelihood.")
        key = jax.random.key(0) if key is None else key
        batch = self._batch(images, label, prompt)
        if steps is None:
            return np.asarray(self._bits_per_dim(self.variables, key, batch))
        chosen = as_float32(resolve(self.config, steps=steps))
        return np.asarray(self._bits_per_dim(self.variables, key, batch, chosen))

    def inverse_options(self, **options: Any) -> SampleOptions:
        """The options of `encode` and `decode`, under which one undoes the other, but for what is asked for."""
        wanted = {**self.method.inverse, **{key: value for key, value in options.items() if value is not None}}
        unused = {
            key: None for key, value in wanted.items() if value is None
        }  # numbers that shall not even be computed
        return as_float32(dataclasses.replace(resolve(self.config, **wanted), **unused))

    def _conditions(
        self, n: int, *, prompt: str | Sequence[str] | None, low_res: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        """What samples of this model depend on besides labels."""
        small = conditions.small_images(self.config, self.spec, low_res, n)
        return conditions.captions(self.config, self.tokenizer, prompt, n) | small

    def _batch(
        self, images: np.ndarray, label: int | str | np.ndarray | None, prompt: str | Sequence[str] | None
    ) -> dict[str, Any]:
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[1:] != self.spec.shape:
            raise ValueError(f"images have shape {images.shape}; this model takes (N, {str(self.spec.shape)[1:]}.")
        if not np.issubdtype(images.dtype, np.integer) or images.min() < 0 or images.max() >= self.spec.levels:
            raise ValueError(
                f"images are {images.dtype} from {images.min()} to {images.max()}; this model takes integers "
                f"0 to {self.spec.levels - 1}."
            )
        n = len(images)
        cond = self._cond(n, label) | conditions.captions(self.config, self.tokenizer, prompt, n)
        return {"image": images.astype(np.uint8), "cond": cond}

    def _cond(self, n: int, label: int | str | np.ndarray | None) -> dict[str, np.ndarray]:
        if not self.method.labels:
            return {}
        if label is None:
            raise ValueError(f"this model is class-conditional: give label=, from 0 to {self.method.labels - 1}.")
        return {"label": label_array(label, n, self.method.labels, null=self.method.null_label)}


def load(
    workdir: epath.PathLike, *, step: int | None = None, ema: bool = True, devices: Sequence[Any] | None = None
) -> Model:
    """The model that a workdir holds.

    Args:
      workdir: what `train.py` or an importer wrote; local or `gs://`.
      step: a checkpoint's; None: the newest intact one.
      ema: the averaged parameters rather than the raw ones.
      devices: to sample on; None: all.

    Raises:
      ConfigError: `workdir` is not a workdir.
      CheckpointError: there is no such checkpoint, or it is damaged.
    """
    return Model(restore(workdir, step=step, ema=ema, devices=devices))
