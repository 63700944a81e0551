"""A trained model for scripts: a method bound to its parameters."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from glowdiff.config.numbers import as_python, check_number
from glowdiff.config.options import SampleOptions, as_float32
from glowdiff.errors import ConfigError, require, shown
from glowdiff.inference.checks import as_array, check_count, check_key, check_model, check_switch
from glowdiff.inference.drawer import Drawer, Samples
from glowdiff.inference.finite import check_finite
from glowdiff.inference.request import Request, request
from glowdiff.method import Latents
from glowdiff.profiling.profiler import Profiler
from glowdiff.trained import Trained, restore


class Model:
    """A method, its variables, and the facts about its data.

    `model.method` holds pure functions for a `jit` or `vmap` of your own; they take `model.variables`. Images are uint8
    [N, H, W, C] with values 0 ... `model.spec.levels` - 1.

    Choices of a call are keywords: `prompt` (a caption for all, or one for each), `negative_prompt` (likewise: what
    `guidance_scale` leads away from), `long_prompts` (whether those beyond the context are read in chunks of it), the
    conditions that the model takes, and options of samples. Conditions are `label` (one class for all, int [n], or
    "none" for models that can do without; left out: drawn), images to enlarge, `image` and `mask` to inpaint (what is
    not 0 is painted anew; any diffusion model can, those trained for it better), and `source` with `strength` to vary
    an image (SDEdit): integers [n, H, W, C], or one for all. Options are the fields of
    `glowdiff.config.options.SampleOptions`, as in the configuration's `sampling` section; left out: as configured;
    names and steps compile once each, numbers never. `guides` are pairs of a classifier or CLIP and how strongly it
    pulls the samples towards their label or prompt.

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
        self.trained = check_model("what a Model is made of", trained)
        self.method, self.variables, self.config, self.spec, self.mesh, self.step, self.tokenizer = trained
        draws = self.method.draws
        self._drawer = Drawer(self.method, self.mesh) if draws else None
        self._sample = jax.jit(draws.sample) if draws else None
        self._unrounded = jax.jit(draws.unrounded) if draws and draws.unrounded else None
        self._encode = jax.jit(draws.encode) if draws and draws.encode else None
        self._bits_per_dim = jax.jit(self.method.bits_per_dim) if self.method.bits_per_dim else None

    def sample(self, key: jax.Array, n: int, **choices: Any) -> np.ndarray:
        """Draw n images, uint8 [n, H, W, C]; image i depends on `key` and i alone. Choices are those of `draw`."""
        return self.draw(key, n, **choices).images

    def draw(
        self,
        key: jax.Array,
        n: int,
        *,
        batch: int | None = None,
        allow_nonfinite: bool = False,
        profiler: Profiler | None = None,
        **choices: Any,
    ) -> Samples:
        """Draw n images and say of which classes they are.

        Args:
          key: a `jax.random.key`, or a key for each image, [n].
          n: how many.
          batch: images at a time; None: all at once. A new number compiles once.
          allow_nonfinite: samples that are not finite (NaN or infinite) are drawn all the same, black or white where
            they are no numbers; `Samples.finite` says which are pictures.
          profiler: traces some of the batches; in a `with`, which ends the trace.
          **choices: see `Model`; with `frames` films are drawn instead, uint8 [n, frames, H, W, C]: what the samples
            were going to be, along the way; at most as many pictures as the denoiser is evaluated.

        Raises:
          ConfigError: the method draws no samples; a choice that the model has no use for, or that cannot be; or
            samples are not finite.
        """
        if self._drawer is None:
            require(False, f"{self.config.method} draws no samples: it is a guide for others.")
        assert self._drawer is not None
        n = check_count("n", n, self.spec.shape)
        cond, options = request(self.trained, n, choices)
        check_count("n", n, (max(options.frames, 1), *self.spec.shape))
        return self._drawer(
            self.variables,
            key,
            n,
            cond=cond,
            options=options,
            batch=batch,
            allow_nonfinite=allow_nonfinite,
            profiler=profiler,
        )

    def encode(self, images: np.ndarray, **choices: Any) -> Latents:
        """Latents of images uint8 [N, H, W, C].

        `decode` gives the same images back: exactly from flows, and from diffusion models the better the more `steps`.

        Args:
          images: with values 0 ... levels - 1.
          **choices: see `Model`; small images that are not given are made of the images themselves.

        Raises:
          ConfigError: the images have another shape or other values than the model's; or it has no `encode`.
        """
        require(self._encode is not None, f"{self.config.method} has no latents of given images.")
        assert self._encode is not None
        batch, options = self._batch(images, choices)
        return self._encode(self.variables, jax.random.key(0), batch, options)

    def decode(self, latents: Latents, *, allow_nonfinite: bool = False, **choices: Any) -> np.ndarray:
        """Images uint8 [N, H, W, C] of latents, without any randomness; choices as of `encode`.

        Args:
          latents: arrays [N, ...], such as `encode` returns.
          allow_nonfinite: as of `draw`.
          **choices: as of `encode`.

        Raises:
          ConfigError: latents have other shapes than the model's, or what they decode to is not finite.
        """
        require(self._sample is not None, f"{self.config.method} draws no samples: it is a guide for others.")
        assert self._sample is not None
        cond, options = self._inverse(self._count(latents), choices)
        drawn = self._sample(self.variables, jax.random.key(0), latents, cond, options)
        if not allow_nonfinite:
            check_finite(np.asarray(drawn.finite), ())
        return np.asarray(drawn.images)

    def decode_unrounded(self, latents: Latents, **choices: Any) -> np.ndarray:
        """Images float [N, H, W, C] of latents before they are rounded, on the scale of `decode`'s integers.

        Raises:
          ConfigError: the method's samples are not rounded from anything (see `Draws.unrounded`).
        """
        require(self._unrounded is not None, f"{self.config.method} gives no images before rounding.")
        assert self._unrounded is not None
        cond, _ = self._inverse(self._count(latents), choices)
        return np.asarray(self._unrounded(self.variables, latents, cond))

    def bits_per_dim(self, images: np.ndarray, *, key: jax.Array | None = None, **choices: Any) -> np.ndarray:
        """Negative log-likelihood of images uint8 [N, H, W, C], in bits per dimension [N]: exact, or an upper bound.

        Args:
          images: with values 0 ... levels - 1.
          key: of the dequantisation noise, or the noise of the bound; None: key 0.
          **choices: see `Model`; with `steps` the bound of a diffusion model is that of a sampler with so many steps,
            else over all timesteps.
        """
        if self._bits_per_dim is None:
            codec = self.method.codec
            latent = codec is not None and not codec.bounded
            why = "works in latents, whose density says nothing of pixels; it has no" if latent else "has no"
            raise ConfigError(f"{self.config.method} {why} likelihood.")
        batch, options = self._batch(images, choices)
        key = jax.random.key(0) if key is None else check_key(key)
        if "steps" not in choices:
            return np.asarray(self._bits_per_dim(self.variables, key, batch))
        return np.asarray(self._bits_per_dim(self.variables, key, batch, options))

    def inverse_options(self, **choices: Any) -> SampleOptions:
        """The options of `encode` and `decode`, under which one undoes the other, but for what is asked for."""
        return self._inverse(1, choices, drawn=True, whole=False).options

    def _inverse(self, n: int, choices: dict[str, Any], *, drawn: bool = False, whole: bool = True) -> Request:
        """What is asked of n images, to go there and back, as of `request`."""
        assert self.method.draws is not None
        choices = {**self.method.draws.inverse, **choices}
        cond, options = request(self.trained, n, choices, drawn=drawn, whole=whole)
        return Request(cond, as_float32(options))

    def _count(self, latents: Latents) -> int:
        """How many images latents are of; raises `ConfigError` if they are of another model."""
        draws = self.method.draws
        assert draws is not None
        like = jax.tree.leaves(jax.eval_shape(lambda: draws.latents(jax.random.key(0), 1)))
        shapes: list[tuple[int, ...]] = [np.shape(leaf) for leaf in jax.tree.leaves(latents)]
        number = shapes[0][0] if shapes and shapes[0] else 0
        wanted = [(number or 1, *leaf.shape[1:]) for leaf in like]
        require(
            shapes == wanted,
            f"latents are arrays of shapes {_listed(shapes)}; this model's have {_listed(wanted)}.",
        )
        return number

    def _batch(self, images: np.ndarray, choices: dict[str, Any]) -> tuple[dict[str, Any], SampleOptions]:
        images = as_array("images", images)
        require(
            images.ndim == 4 and len(images) > 0 and images.shape[1:] == self.spec.shape,
            f"images have shape {images.shape}; this model takes (N, {str(self.spec.shape)[1:]}.",
        )
        require(
            np.issubdtype(images.dtype, np.integer) and images.min() >= 0 and images.max() < self.spec.levels,
            f"images are {images.dtype} from {images.min()} to {images.max()}; this model takes integers 0 to "
            f"{self.spec.levels - 1}.",
        )
        cond, options = self._inverse(len(images), choices, whole=False)
        return {"image": images.astype(np.uint8), "cond": cond}, options


def _listed(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join("x".join(map(str, shape)) or "()" for shape in shapes) or "none"


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
      ConfigError: `workdir` is not a workdir, or `step` no number of steps.
      CheckpointError: there is no such checkpoint, or it is damaged.
    """
    named = isinstance(workdir, str | os.PathLike) and bool(os.fspath(workdir))
    require(named, f"a workdir is {shown(workdir)}; it must be the name of a folder.")
    if step is not None:
        check_number("step", step, low=0, whole=True)
    check_switch("ema", ema)
    return Model(restore(workdir, step=as_python(step), ema=ema, devices=devices))
