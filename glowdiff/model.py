"""A trained model for scripts: a method bound to its parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.sharding import Mesh

from glowdiff import workdir as workdirs
from glowdiff.config.schema import Config, MeshConfig
from glowdiff.data.spec import DataSpec
from glowdiff.method import Latents, Method, SampleOptions, Variables, batch_shapes
from glowdiff.registry import build_method
from glowdiff.sampling import Sampler, Samples
from glowdiff.sharding import make_mesh, state_shardings
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
        self._sample = jax.jit(method.sample) if method.sample else None
        self._unrounded = jax.jit(method.unrounded) if method.unrounded else None
        self._encode = jax.jit(method.encode) if method.encode else None
        self._bits_per_dim = jax.jit(method.bits_per_dim) if method.bits_per_dim else None

    def sample(
        self,
        key: jax.Array,
        n: int,
        *,
        temperature: float | None = None,
        label: int | np.ndarray | None = None,
        batch: int | None = None,
    ) -> np.ndarray:
        """Draw n images, uint8 [n, H, W, C]; image i depends on `key` and i alone. See `draw`."""
        return self.draw(key, n, temperature=temperature, label=label, batch=batch).images

    def draw(
        self,
        key: jax.Array,
        n: int,
        *,
        temperature: float | None = None,
        label: int | np.ndarray | None = None,
        batch: int | None = None,
    ) -> Samples:
        """Draw n images and say of which classes they are.

        Args:
          key: a `jax.random.key`.
          n: how many.
          temperature: standard deviation of the latents; None: the configuration's.
          label: one class for all or int [n], for models with labels; None draws them.
          batch: images at a time; None: all at once. A new number compiles once, nothing else does.

        Raises:
          ValueError: see `glowdiff.sampling.Sampler`; or the method draws no samples.
        """
        if self._sampler is None:
            raise ValueError(f"{self.config.method} draws no samples: it is a guide for others.")
        options = SampleOptions(self.config.sampling.temperature if temperature is None else temperature)
        return self._sampler(self.variables, key, n, label=label, options=options, batch=batch)

    def encode(self, images: np.ndarray, *, label: int | np.ndarray | None = None) -> Latents:
        """Latents of images uint8 [N, H, W, C]; `decode` gives the same images back.

        Raises:
          ValueError: the images have another shape or other values than the model's; or it has no `encode`.
        """
        if self._encode is None:
            raise ValueError(f"{self.config.method} has no latents of given images.")
        return self._encode(self.variables, jax.random.key(0), self._batch(images, label), SampleOptions())

    def decode(self, latents: Latents, *, label: int | np.ndarray | None = None) -> np.ndarray:
        """Images uint8 [N, H, W, C] of latents."""
        if self._sample is None:
            raise ValueError(f"{self.config.method} draws no samples: it is a guide for others.")
        n = jax.tree.leaves(latents)[0].shape[0]
        one = SampleOptions(jnp.float32(1.0))
        return np.asarray(self._sample(self.variables, jax.random.key(0), latents, self._cond(n, label), one))

    def decode_unrounded(self, latents: Latents, *, label: int | np.ndarray | None = None) -> np.ndarray:
        """Images float [N, H, W, C] of latents before they are rounded, on the scale of `decode`'s integers.

        Raises:
          ValueError: the method's samples are not rounded from anything (see `Method.unrounded`).
        """
        if self._unrounded is None:
            raise ValueError(f"{self.config.method} gives no images before rounding.")
        n = jax.tree.leaves(latents)[0].shape[0]
        return np.asarray(self._unrounded(self.variables, latents, self._cond(n, label)))

    def bits_per_dim(
        self, images: np.ndarray, *, label: int | np.ndarray | None = None, key: jax.Array | None = None
    ) -> np.ndarray:
        """Exact negative log-likelihood (or its bound) of images uint8 [N, H, W, C], in bits per dimension [N].

        Args:
          images: with values 0 ... levels - 1.
          label: of models with labels.
          key: of the dequantisation noise; None: key 0.
        """
        if self._bits_per_dim is None:
            raise ValueError(f"{self.config.method} has no likelihood.")
        key = jax.random.key(0) if key is None else key
        return np.asarray(self._bits_per_dim(self.variables, key, self._batch(images, label)))

    def _batch(self, images: np.ndarray, label: int | np.ndarray | None) -> dict[str, Any]:
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[1:] != self.spec.shape:
            raise ValueError(f"images have shape {images.shape}; this model takes (N, {str(self.spec.shape)[1:]}.")
        if not np.issubdtype(images.dtype, np.integer) or images.min() < 0 or images.max() >= self.spec.levels:
            raise ValueError(
                f"images are {images.dtype} from {images.min()} to {images.max()}; this model takes integers "
                f"0 to {self.spec.levels - 1}."
            )
        return {"image": images.astype(np.uint8), "cond": self._cond(len(images), label)}

    def _cond(self, n: int, label: int | np.ndarray | None) -> dict[str, np.ndarray]:
        if not self.method.labels:
            return {}
        if label is None:
            raise ValueError(f"this model is class-conditional: give label=, from 0 to {self.method.labels - 1}.")
        return {"label": np.broadcast_to(np.asarray(label, np.int32), (n,))}


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
