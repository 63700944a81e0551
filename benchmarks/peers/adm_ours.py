"""Our side of benchmarks/peers/adm.py: the package's own train step and sampler on one batch."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.datasheet import datasheet_peak
from benchmarks.programs import make_experiment, train_program
from benchmarks.synthetic import synthetic
from benchmarks.timing import matmul_peak
from glowdiff.config.options import SampleOptions
from glowdiff.config.sections import Config
from glowdiff.diffusion.build import denoising_module, network
from glowdiff.diffusion.guided import guided
from glowdiff.diffusion.process import Process
from glowdiff.diffusion.timesteps import uniform
from glowdiff.inference.drawer import Drawer
from glowdiff.networks.unet import UNet
from glowdiff.samplers import SAMPLERS
from glowdiff.samplers.sampler import run
from glowdiff.sharding import make_mesh, platform_of, put_batch
from glowdiff.training.experiment import parameter_count


class Ours:
    """The package's own train step and sampler, on one batch that is on the device already."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._dataset = synthetic(config)
        self._experiment = make_experiment(config, self._dataset, make_mesh(config.mesh))
        self.net: UNet = denoising_module(
            config.model, self._dataset.spec, config.dtype, platform=platform_of(self._experiment.mesh)
        )
        state = self._experiment.initial_state()
        # A new network's output is zero. This one's layers all act.
        params = _awake(state.variables["params"])
        self._variables = {"params": jax.tree.map(jnp.copy, params)}
        ema = jax.tree.map(jnp.copy, params)
        self._state = state._replace(variables={**state.variables, "params": params}, ema=ema)
        examples = [self._dataset.train[i] for i in range(config.train.batch)]
        self.images = np.stack([example["image"] for example in examples])
        cond = jax.tree.map(lambda *labels: np.stack(labels), *(example["cond"] for example in examples))
        self.labels = cond["label"] if self.net.classes else None
        self._batch = put_batch({"image": self.images, "cond": cond}, self._experiment.mesh)
        self._program = train_program(self._experiment)
        self._drawer = Drawer(self._experiment.method, self._experiment.mesh)
        self._process = Process(config.model.process.alpha_bars())
        self._cond = {} if self.labels is None else {"label": jnp.asarray(self.labels)}
        self._one = jax.jit(functools.partial(self._walk, rows=slice(24, 25)))

    @functools.cached_property
    def _step(self) -> Any:
        return self._program.lower().compile()

    @property
    def parameters(self) -> int:
        """Trained numbers in all."""
        return parameter_count(self._state)

    def peer(self, dtype: str, *, channels_last: bool, compiled: bool) -> Any:
        """The other one, with our weights."""
        from benchmarks.peers.diffusers_unet import build, diffusers_peer, weights

        heads_of = self.net.head_channels
        assert heads_of is not None
        model = build(self.net, heads_of, self.images.shape[-1])
        model.load_state_dict(weights(self.net, self._variables["params"]))  # strict: nothing is left out
        train = self.config.train
        rate = self.config.optimizer.learning_rate
        how = {"dtype": dtype, "channels_last": channels_last, "compiled": compiled}
        return diffusers_peer(model, self.images, self.labels, learning_rate=rate, decay=train.ema_decay, **how)

    def train(self, steps: int) -> None:
        """So many optimiser steps."""
        metrics = None
        for _ in range(steps):
            self._state, metrics = self._step(self._state, self._batch)
        jax.block_until_ready(metrics)

    def denoise(self, steps: int) -> None:
        """So many single steps of DDIM at the same timestep."""
        x = self.noise()
        jax.block_until_ready([self._one(self._variables, x) for _ in range(steps)][-1])

    def sample(self, times: int) -> None:
        """So many batches of images, 50 steps each, into the host's memory."""
        options = self.config.sampling
        cond = {} if self.labels is None else {"label": self.labels}
        for i in range(times):
            key = jax.random.key(i)
            self._drawer(self._variables, key, len(self.images), cond=cond, options=options)

    def output(self, x: jax.Array, t: jax.Array) -> jax.Array:
        """What the network makes of x at timesteps t [B]."""
        return jax.jit(self.net.apply)(self._variables, x, t, self._cond)  # pyright: ignore[reportReturnType]

    def samples_from(self, x: jax.Array) -> jax.Array:
        """What DDIM makes of noise x, before it is rounded to pixels."""
        return jax.jit(self._walk)(self._variables, x)

    def loss_and_norm(self) -> tuple[jax.Array, jax.Array, float, float]:
        """A training step's timesteps, its noise, and what it reports: loss and norm of the gradient."""
        # What the train step and the loss make of the state's key.
        t_key, noise_key, *_ = jax.random.split(jax.random.fold_in(self._state.key, self._state.step), 4)
        t, _ = uniform(t_key, len(self.images), self.config.model.process.timesteps)
        noise = jax.random.normal(noise_key, self.images.shape)
        self._state, metrics = self._step(self._state, self._batch)
        return t, noise, float(metrics["loss"]), float(metrics["grad_norm"])

    def noise(self) -> jax.Array:
        """Standard normal, in the shape of the images."""
        return jax.random.normal(jax.random.key(1), self.images.shape)

    def utilisation(self, seconds: float, dtype: str) -> dict[str, float]:
        """What a training step of so many seconds makes of the device."""
        flops = self._program.flops() / seconds
        shown = matmul_peak(self._experiment.mesh, dtype)
        found = {"model GFLOP/s": flops / 1e9, "share of matrix products": flops / shown}
        known = datasheet_peak(jax.devices()[0].device_kind)
        if known and dtype == "bfloat16":
            found["MFU (share of the maker's peak)"] = flops / (known * self._experiment.mesh.size)
        return found

    def _walk(self, variables: Any, x: jax.Array, rows: slice = slice(None)) -> jax.Array:
        net = network(self.net, self.config.dtype)
        denoise = guided(net, self._process, variables, self._cond, SampleOptions(), None, {})
        grid = jax.tree.map(lambda table: table[rows], self._process.grid("ddim50"))
        unused = jax.random.split(jax.random.key(0), x.shape[0])  # with eta 0 no noise is drawn
        return run(SAMPLERS["ddim"], denoise, x, grid, unused)[0]


def _awake(params: Any) -> Any:
    """Parameters with small noise in those that are zero."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(0), len(leaves))

    def scale(leaf: jax.Array) -> float:
        return 1 / np.sqrt(np.prod(leaf.shape[:-1]) or 1) if leaf.ndim > 1 else 0.02

    def noisy(leaf: jax.Array, key: jax.Array) -> jax.Array:
        return leaf + scale(leaf) * jax.random.normal(key, leaf.shape, leaf.dtype)

    return tree.unflatten([noisy(*pair) for pair in zip(leaves, keys, strict=True)])
