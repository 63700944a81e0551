"""Our side of benchmarks/peers/sd.py: the package's train step and sampler around the UNet of Stable Diffusion."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from glowdiff import importers
from glowdiff.config.sections import Config
from glowdiff.diffusion.build import network
from glowdiff.diffusion.guided import guided
from glowdiff.diffusion.timesteps import uniform
from glowdiff.method import Aux, Batch, Method, Variables
from glowdiff.samplers import SAMPLERS
from glowdiff.samplers.levels import as_dtype, rows
from glowdiff.samplers.sampler import run
from glowdiff.sharding import make_mesh, platform_of, put_batch
from glowdiff.training.optimizer import learning_rate, make_optimizer
from glowdiff.training.state import fresh_state
from glowdiff.training.step import jit_train_step, make_train_step


class OursLatent:
    """A denoiser of latents that are there already, told what captions say: neither codec nor text encoder runs."""

    def __init__(self, config: Config, model: Any, x_0: np.ndarray, text: np.ndarray, free: np.ndarray) -> None:
        """With the weights of the peer's model.

        Args:
          config: names the process, the optimiser and the type.
          model: diffusers' `UNet2DConditionModel`.
          x_0: float32 [B, H, W, C], what it is trained on.
          text: what captions say, [B, T, E],
          free: and what an empty one does.
        """
        mesh = make_mesh(config.mesh)
        weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
        module, variables = importers.latent_unet(weights, _flags(model.config))
        dtype = jnp.dtype(config.dtype)
        self.config, self._model, self._x_0, self._told = config, model, x_0, (text, free)
        self._network = network(module.clone(dtype=dtype, platform=platform_of(mesh)), config.dtype)
        self._variables: Variables = jax.tree.map(jnp.asarray, variables)
        self._process, self._options = config.model.process.process(), config.sampling
        self._text, self._free = jnp.asarray(text), jnp.asarray(free)
        self._batch = put_batch({"x_0": x_0, "text": text}, mesh)
        optimizer, self._mesh = make_optimizer(config), mesh
        params = jax.tree.map(jnp.copy, self._variables)
        self._state = jax.jit(functools.partial(fresh_state, optimizer))(jax.random.key(0), params)
        method = Method(init=lambda key, batch: params, loss=self._loss)
        step = make_train_step(method, optimizer, learning_rate(config), config, mesh)
        self._step = jit_train_step(step, self._state, mesh)
        self._one = jax.jit(functools.partial(self._walk, rows_of=slice(24, 25)))
        self._all = jax.jit(self._walk)

    @property
    def parameters(self) -> int:
        """Trained numbers in all."""
        return sum(leaf.size for leaf in jax.tree.leaves(self._variables["params"]))

    def peer(self, dtype: str, *, channels_last: bool, compiled: bool) -> Any:
        """The other one, which began with these weights."""
        from diffusers import DDIMScheduler  # pyright: ignore[reportMissingImports]

        from benchmarks.peers.diffusers_peer import DiffusersPeer

        noise = self.config.model.process
        ddim = DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule=noise.schedule, clip_sample=False, steps_offset=1,
            set_alpha_to_one=False,
        )  # fmt: skip
        ddim.set_timesteps(int(self._options.steps))
        text, free = ({"encoder_hidden_states": array} for array in self._told)
        train, optimizer, scale = self.config.train, self.config.optimizer, self._options.guidance_scale
        assert scale is not None
        return DiffusersPeer(
            self._model, ddim, self._x_0, text, guidance=(scale, free), clipped=False,
            dtype=dtype, learning_rate=optimizer.learning_rate, decay=train.ema_decay, channels_last=channels_last,
            compiled=compiled,
        )  # fmt: skip

    def train(self, steps: int) -> None:
        """So many optimiser steps."""
        metrics = None
        for _ in range(steps):
            self._state, metrics = self._step(self._state, self._batch)
        jax.block_until_ready(metrics)

    def denoise(self, steps: int) -> None:
        """So many single steps of DDIM at the same timestep, guided."""
        x = self.noise()
        jax.block_until_ready([self._one(self._variables, x) for _ in range(steps)][-1])

    def sample(self, times: int) -> None:
        """So many batches of latents, by all steps, into the host's memory."""
        for i in range(times):
            np.asarray(self._all(self._variables, jax.random.normal(jax.random.key(i), self._x_0.shape)))

    def output(self, x: jax.Array, t: jax.Array) -> jax.Array:
        """What the network makes of x at timesteps t [B]."""
        return jax.jit(self._network.apply)(self._variables, x, t, {"text": self._text})

    def samples_from(self, x: jax.Array) -> jax.Array:
        """What DDIM makes of noise x."""
        return self._all(self._variables, x)

    def loss_and_norm(self) -> tuple[jax.Array, jax.Array, float, float]:
        """A training step's timesteps, its noise, and what it reports: loss and norm of the gradient."""
        t, noise = self._drawn(jax.random.fold_in(self._state.key, self._state.step))
        self._state, metrics = self._step(self._state, self._batch)
        return t, noise, float(metrics["loss"]), float(metrics["grad_norm"])

    def noise(self) -> jax.Array:
        """Standard normal, in the shape of the latents."""
        return jax.random.normal(jax.random.key(1), self._x_0.shape)

    def _drawn(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        t_key, noise_key = jax.random.split(key)
        shape = self._x_0.shape
        return uniform(t_key, shape[0], self._process.timesteps)[0], jax.random.normal(noise_key, shape)

    def _loss(self, variables: Variables, key: jax.Array, batch: Batch) -> tuple[jax.Array, Aux]:
        t, noise = self._drawn(key)
        level = rows(as_dtype(self._process.training_grid(), jnp.float32), t).now
        x_t = self._process.q_sample(batch["x_0"], level, noise)
        eps = self._network.train(variables, x_t, level.t, {"text": batch["text"]}, key)
        return optax.l2_loss(eps, noise).mean() * 2, Aux({}, {})

    def _walk(self, variables: Variables, x: jax.Array, rows_of: slice = slice(None)) -> jax.Array:
        def withhold(cond: Mapping[str, jax.Array], given: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
            del given
            return {**cond, "text": self._free}

        denoise = guided(self._network, self._process, variables, {"text": self._text}, self._options, withhold, {})
        options = self._options
        grid = self._process.grid(options.steps, options.spacing, final=options.final)
        unused = jax.random.split(jax.random.key(0), x.shape[0])  # with eta 0 no noise is drawn
        return run(SAMPLERS["ddim"], denoise, x, jax.tree.map(lambda table: table[rows_of], grid), unused)[0]


def _flags(config: Mapping[str, Any]) -> dict[str, Any]:
    """The peer's configuration as it would stand in a file."""
    return {name: value for name, value in config.items() if not name.startswith("_")}
