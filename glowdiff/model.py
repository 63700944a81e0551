"""A trained model for scripts: a method bound to its parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.sharding import Mesh

from glowdiff import workdir as workdirs
from glowdiff.config.schema import Config, ConfigError, MeshConfig
from glowdiff.data.spec import DataSpec
from glowdiff.diffusion.config import same_noise
from glowdiff.method import Guide, Latents, Method, SampleOptions, Variables, batch_shapes
from glowdiff.registry import build_method
from glowdiff.sampling import Sampler, Samples, as_float32, label_array, resolve
from glowdiff.sharding import make_mesh, replicated, state_shardings
from glowdiff.training.checkpoint import Checkpoints


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
    """

    def __init__(
        self, method: Method, variables: Variables, config: Config, spec: DataSpec, mesh: Mesh, step: int
    ) -> None:
        self.method, self.variables, self.config, self.spec, self.mesh = method, variables, config, spec, mesh
        self.step = step
        self._sampler = Sampler(method, mesh) if method.sample else None
        self._film = Sampler(method, mesh, film=True) if method.film else None
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
        batch: int | None = None,
        low_res: np.ndarray | None = None,
        classifier: Model | None = None,
        classifier_scale: float = 1.0,
        frames: int | None = None,
        **options: Any,
    ) -> Samples:
        """Draw n images and say of which classes they are.

        Args:
          key: a `jax.random.key`.
          n: how many.
          label: one class for all or int [n], for models with labels, or "none" for those that can do without; None
            draws them.
          batch: images at a time; None: all at once. A new number compiles once, nothing else does.
          low_res: of super-resolution models: images uint8 [n, h, w, C] to enlarge.
          classifier: guides the samples towards their labels.
          classifier_scale: how strongly (Dhariwal & Nichol, 2021, table 4: 0.5 to 10).
          frames: draw films instead, uint8 [n, frames, H, W, C]: what the samples were going to be, along the way; at
            most as many pictures as the denoiser is evaluated.
          **options: keys of the configuration's `sampling` section, such as `temperature`, `sampler`, `steps`, `eta`,
            `guidance_scale`; None, or left out: as configured. Names and steps compile once each, numbers never.

        Raises:
          ConfigError: see `glowdiff.sampling`; an option that the model has no use for; a classifier of other images or
            other noise; wrong or missing `low_res`.
          ValueError: the method draws no samples.
        """
        sampler = self._sampler if frames is None else self._film
        if sampler is None:
            raise ValueError(
                f"{self.config.method} draws no "
                + ("films: its samples have no steps." if self._sampler else "samples: it is a guide for others.")
            )
        guides = () if classifier is None else (self._guide(classifier, classifier_scale),)
        chosen = resolve(self.config, guides=guides, frames=frames, **options)
        cond = self._low_res(low_res, n)
        return sampler(self.variables, key, n, label=label, cond=cond, options=chosen, batch=batch)

    def encode(
        self,
        images: np.ndarray,
        *,
        label: int | str | np.ndarray | None = None,
        low_res: np.ndarray | None = None,
        **options: Any,
    ) -> Latents:
        """Latents of images uint8 [N, H, W, C].

        `decode` gives the same images back: exactly from flows, and from diffusion models the better the more `steps`.

        Args:
          images: with values 0 ... levels - 1.
          label: of models with labels.
          low_res: of super-resolution models, as of `draw`; None: the images themselves, made smaller.
          **options: see `draw`.

        Raises:
          ValueError: the images have another shape or other values than the model's; or it has no `encode`.
        """
        if self._encode is None:
            raise ValueError(f"{self.config.method} has no latents of given images.")
        batch = self._batch(images, label)
        if low_res is not None:
            batch["cond"] |= self._low_res(low_res, len(images))
        return self._encode(self.variables, jax.random.key(0), batch, self._inverse(options))

    def decode(
        self,
        latents: Latents,
        *,
        label: int | str | np.ndarray | None = None,
        low_res: np.ndarray | None = None,
        **options: Any,
    ) -> np.ndarray:
        """Images uint8 [N, H, W, C] of latents, without any randomness; options as of `draw`."""
        if self._sample is None:
            raise ValueError(f"{self.config.method} draws no samples: it is a guide for others.")
        n = jax.tree.leaves(latents)[0].shape[0]
        cond, chosen = self._cond(n, label) | self._low_res(low_res, n), self._inverse(options)
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
        key: jax.Array | None = None,
        steps: int | str | None = None,
    ) -> np.ndarray:
        """Negative log-likelihood of images uint8 [N, H, W, C], in bits per dimension [N]: exact, or an upper bound.

        Args:
          images: with values 0 ... levels - 1.
          label: of models with labels.
          key: of the dequantisation noise, or the noise of the bound; None: key 0.
          steps: of diffusion models: the bound of a sampler with so many steps; None: all timesteps.
        """
        if self._bits_per_dim is None:
            raise ValueError(f"{self.config.method} has no likelihood.")
        key = jax.random.key(0) if key is None else key
        batch = self._batch(images, label)
        if steps is None:
            return np.asarray(self._bits_per_dim(self.variables, key, batch))
        chosen = as_float32(resolve(self.config, steps=steps))
        return np.asarray(self._bits_per_dim(self.variables, key, batch, chosen))

    def _inverse(self, options: dict[str, Any]) -> SampleOptions:
        """Options under which `decode` undoes `encode`, but for what is asked for."""
        wanted = {**self.method.inverse, **{key: value for key, value in options.items() if value is not None}}
        unused = {
            key: None for key, value in wanted.items() if value is None
        }  # numbers that shall not even be computed
        return as_float32(dataclasses.replace(resolve(self.config, **wanted), **unused))

    def _guide(self, classifier: Model, scale: float) -> Guide:
        """A classifier as a guide of this model's samples."""
        if classifier.method.log_prob is None:
            raise ConfigError(
                f"the classifier is a model of method {classifier.config.method}, which classifies nothing."
            )
        if "guides" not in self.method.options:
            raise ConfigError(f"a classifier guides diffusion models; this one is of method {self.config.method}.")
        mine, theirs = self.spec, classifier.spec
        different = same_noise(self.config.model, classifier.config.model)
        if (mine.shape, mine.levels) != (theirs.shape, theirs.levels):
            different = (
                f"images are {'x'.join(map(str, mine.shape))} with {mine.levels} levels and the classifier's are "
                f"{'x'.join(map(str, theirs.shape))} with {theirs.levels}"
            )
        if self.method.labels not in (0, classifier.method.labels):
            different = f"the model knows {self.method.labels} classes and the classifier {classifier.method.labels}"
        if different:
            raise ConfigError(f"the classifier does not fit the model: {different}.")
        variables = jax.device_put(classifier.variables, replicated(self.mesh))
        return Guide(variables, scale, classifier.method.log_prob, classifier.method.labels)

    def _low_res(self, low_res: np.ndarray | None, n: int) -> dict[str, np.ndarray]:
        """The condition of super-resolution models, checked."""
        side = getattr(self.config.model, "low_res", None)
        if side is None:
            if low_res is not None:
                raise ConfigError("low_res was given, but this is no super-resolution model (model.low_res).")
            return {}
        wanted = (n, side, side, self.spec.shape[-1])
        if low_res is None:
            raise ConfigError(f"this model enlarges images: give low_res, uint8 {list(wanted)}.")
        low_res = np.asarray(low_res)
        if low_res.shape != wanted or not np.issubdtype(low_res.dtype, np.integer):
            raise ConfigError(f"low_res is {low_res.dtype} {list(low_res.shape)}; it must be uint8 {list(wanted)}.")
        if low_res.min() < 0 or low_res.max() >= self.spec.levels:
            raise ConfigError(
                f"low_res has values from {low_res.min()} to {low_res.max()}; this model takes 0 to "
                f"{self.spec.levels - 1}."
            )
        return {"low_res": low_res.astype(np.uint8)}

    def _batch(self, images: np.ndarray, label: int | str | np.ndarray | None) -> dict[str, Any]:
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[1:] != self.spec.shape:
            raise ValueError(f"images have shape {images.shape}; this model takes (N, {str(self.spec.shape)[1:]}.")
        if not np.issubdtype(images.dtype, np.integer) or images.min() < 0 or images.max() >= self.spec.levels:
            raise ValueError(
                f"images are {images.dtype} from {images.min()} to {images.max()}; this model takes integers "
                f"0 to {self.spec.levels - 1}."
            )
        return {"image": images.astype(np.uint8), "cond": self._cond(len(images), label)}

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
    config, spec = workdirs.read(workdir)
    method = build_method(config, spec)
    mesh = make_mesh(MeshConfig(), devices)
    shapes = jax.eval_shape(method.init, jax.random.key(0), batch_shapes(spec, config.model.init_images))
    like = {"variables": dict(shapes)} | ({"ema": shapes["params"]} if ema else {})
    if ema:
        del like["variables"]["params"]
    like = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        like,
        state_shardings(like, mesh),
    )
    with Checkpoints(workdir) as checkpoints:
        restored = checkpoints.restore_part(like, step)
    variables = dict(restored.state["variables"])
    if ema:
        variables["params"] = restored.state["ema"]
    return Model(method, variables, config, spec, mesh, restored.step)
