"""Everything a run needs, built and checked before anything compiles."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from etils import epath
from jax.sharding import Mesh

from glowdiff.catalog.methods import build_method
from glowdiff.config.sections import Config
from glowdiff.data import captioned
from glowdiff.data.dataset import Dataset
from glowdiff.data.latents import Header, read_header
from glowdiff.diffusion.codec import CODEC
from glowdiff.errors import require
from glowdiff.method import Method, Variables, batch_shapes
from glowdiff.sharding import batch_sharding, check_batch, make_mesh, platform_of, replicated, state_shardings
from glowdiff.text.tokenizer import Tokenizer
from glowdiff.trained import frozen, parts_of
from glowdiff.training.latents import digest
from glowdiff.training.optimizer import learning_rate, make_optimizer
from glowdiff.training.state import TrainState, create_state
from glowdiff.training.step import jit_train_step, make_train_step


class Experiment(NamedTuple):
    """A configuration come to life."""

    config: Config
    dataset: Dataset
    method: Method
    mesh: Mesh
    optimizer: optax.GradientTransformation
    schedule: optax.Schedule
    tokenizer: Tokenizer | None = None  # of captions, where the model reads them
    frozen: Mapping[str, Variables] = MappingProxyType({})  # variables of models that serve this one, by name
    latents: Header | None = None  # that are read in place of training images

    def example_batch(self, size: int) -> Any:
        """Shapes of a batch of `size` images, or of their latents."""
        shapes = batch_shapes(self.dataset.spec, size, self.method.takes)
        if self.latents is None:
            return shapes
        kept = jax.ShapeDtypeStruct((size, *self.latents.shape), self.latents.dtype)
        return {"latents": kept, "cond": shapes["cond"]}

    def abstract_state(self) -> TrainState:
        """Shapes, dtypes and shardings of the state, at no cost: JAX remembers what it has traced."""
        batch = self.example_batch(self.config.model.init_images)
        shapes = jax.jit(create_state, static_argnums=(0, 1)).eval_shape(
            self.method.init, self.optimizer, jax.random.key(0), batch
        )
        return jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            shapes,
            state_shardings(shapes, self.mesh),
        )

    def initial_state(self) -> TrainState:
        """The state before the first step, initialised on a global batch of its own wherever the devices are."""
        from glowdiff.data.batches import init_batch  # Grain: only here, where images are read

        images = self.config.model.init_images
        batch = init_batch(self.dataset, self.config.data, images=images, seed=self.config.seed)
        sharding = batch_sharding(self.mesh) if images % self.mesh.size == 0 else replicated(self.mesh)
        batch = jax.tree.map(
            lambda a: jax.make_array_from_callback(np.shape(a), sharding, lambda index: np.asarray(a)[index]), batch
        )
        shardings = jax.tree.map(lambda leaf: leaf.sharding, self.abstract_state())
        create = jax.jit(create_state, static_argnums=(0, 1), out_shardings=shardings)
        return create(self.method.init, self.optimizer, jax.random.key(self.config.seed), batch)

    def train_step(self) -> Any:
        """The compiled-on-demand train step, a function of state, batch and the variables of `frozen`, if any."""
        step = make_train_step(self.method, self.optimizer, self.schedule, self.config, self.mesh)
        return jit_train_step(step, self.abstract_state(), self.mesh, dict(self.frozen))

    def variables(self, variables: Variables) -> Variables:
        """Those of this model, with those of the frozen ones that serve it."""
        return {**variables, "frozen": dict(self.frozen)} if self.frozen else variables

    def eval_batch(self) -> int:
        """Images per evaluation batch: as configured, rounded up so that all devices share it."""
        wanted = min(self.config.eval.batch or self.config.train.batch, len(self.dataset.test))
        return -(-wanted // self.mesh.size) * self.mesh.size


def build(config: Config, workdir: epath.PathLike | None = None) -> Experiment:
    """Check `config` against its data and the devices, and build what it names.

    A tokenizer that `workdir`, `train.init_from` or a frozen text encoder holds already is the one that reads captions;
    likewise the copies of frozen models.

    Raises:
      ConfigError: in the user's words.
    """
    mesh = make_mesh(config.mesh)
    check_batch("train.batch", config.train.batch, config.train.accumulate, mesh)
    text = config.model.frozen().get("text")
    dataset, tokenizer = captioned.load(config, workdir, config.train.init_from, text, latents=True)
    parts = parts_of(config, workdir)
    latents = None
    if config.data.latents is not None:
        latents = read_header(config.data.latents)
        require(
            latents.codec == digest(parts[CODEC].variables),
            f"data.latents is {config.data.latents}, which another autoencoder has encoded than that of "
            "model.codec.workdir; prepare it anew.",
        )
    method = build_method(config, dataset.spec, platform_of(mesh), frozen(parts))
    return Experiment(
        config, dataset, method, mesh, make_optimizer(config), learning_rate(config), tokenizer,
        {name: part.variables for name, part in parts.items()}, latents,
    )  # fmt: skip


def parameter_count(state: TrainState) -> int:
    """Trained numbers in all."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state.variables["params"]))


def bytes_per_device(state: TrainState) -> int:
    """Bytes that the state takes on each device."""

    def size(leaf: Any) -> int:
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return 0 if is_key else math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize

    return sum(size(leaf) for leaf in jax.tree.leaves(state))
