"""A method that compiles at once, and pictures for it: what the training loop does is seen without a model's cost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glowdiff.config.options import SampleOptions
from glowdiff.config.sections import Config, ModelConfig
from glowdiff.data.holdout import held_out
from glowdiff.method import Aux, Drawn, Draws, Method, example_keys, finite_rows
from tests import small

POISON, SPIKE = 16, 0  # pictures of this value all over make the gradient not a number, or enormous


@dataclass(frozen=True)
class ToyConfig(ModelConfig):
    """The `model` section of the toy."""

    init_images: int = 8
    nonfinite: int = 0  # samples, the first ones, that are not finite
    fail_from: int = -1  # good steps after which the loss is infinite for ever; -1: never
    teacher: str | None = None  # the workdir of another toy, whose mean picture is learnt instead

    def frozen(self) -> dict[str, str]:
        return {} if self.teacher is None else {"teacher": self.teacher}


class ToyData:
    """40 random pictures of 8x8 pixels and 17 levels, 32 of them to train on: four steps of eight see each once."""

    def __init__(self, path: Path, *, write: bool = True) -> None:
        self.path = path
        rng = np.random.default_rng(0)
        for count in range(34, 60):  # the hash decides how many are held out
            self.train = np.flatnonzero(~held_out([str(row) for row in range(count)], 0.2))
            if len(self.train) == 32:
                break
        assert len(self.train) == 32
        self.images = rng.integers(1, 16, (count, 8, 8, 1), dtype=np.uint8)
        if write:
            self._write()

    def fill(self, value: int) -> None:
        """Make one of the training pictures `value` all over."""
        self.images[self.train[5]] = value
        self._write()

    def _write(self) -> None:
        np.savez(self.path, arr_0=self.images, levels=np.int32(17))


def toy_method(config: ToyConfig, spec: Any, dtype: str, *, platform: Any, frozen: Any = None) -> Method:
    """Learns the mean picture; its loss draws noise, counts good steps in a collection, and can be made to fail."""
    assert set(frozen or {}) == set(config.frozen())

    def scaled(batch: Any) -> jax.Array:
        return batch["image"].astype(dtype) / 16

    def init(key: jax.Array, batch: Any) -> Any:
        return {"params": {"mean": scaled(batch).mean(0)}, "state": {"good": jnp.int32(0)}}

    def loss(variables: Any, key: jax.Array, batch: Any) -> tuple[jax.Array, Aux]:
        mean, good = variables["params"]["mean"], variables["state"]["good"]
        pictures = scaled(batch)
        if "frozen" in variables:
            pictures = jnp.broadcast_to(variables["frozen"]["teacher"]["params"]["mean"][None], pictures.shape)
        bits = jnp.mean((pictures - mean[None]) ** 2) + jnp.mean(mean * jax.random.normal(key, mean.shape)) / 10
        filled = batch["image"].reshape(batch["image"].shape[0], -1)
        poisoned = jnp.any(jnp.all(filled == POISON, 1)) | ((config.fail_from >= 0) & (good >= config.fail_from))
        spike = jnp.any(jnp.all(filled == SPIKE, 1))
        total = bits * jnp.where(spike, 1e6, 1.0) * jnp.where(poisoned, jnp.nan, 1.0)
        return total, Aux({"bits_per_dim": bits}, {"state": {"good": good + 1}})

    def latents(key: jax.Array, n: int) -> jax.Array:
        return jax.vmap(lambda k: jax.random.normal(k, spec.shape))(example_keys(key, n))

    def sample(variables: Any, key: Any, latents: jax.Array, cond: Any, options: SampleOptions) -> Drawn:
        noisy = variables["params"]["mean"][None] + latents * options.temperature / 10
        lost = jnp.arange(noisy.shape[0]) < config.nonfinite
        noisy = jnp.where(lost.reshape(-1, *[1] * (noisy.ndim - 1)), jnp.nan, noisy)
        return Drawn(jnp.clip(jnp.round(noisy * 16), 0, 16).astype(jnp.uint8), finite_rows(noisy))

    def bits_per_dim(variables: Any, key: jax.Array, batch: Any) -> jax.Array:
        return jnp.mean((scaled(batch) - variables["params"]["mean"][None]) ** 2, axis=(1, 2, 3))

    return Method(init, loss, bits_per_dim=bits_per_dim, draws=Draws(latents, sample))


def toy_config(data: ToyData, **changes: Any) -> Config:
    """The toy on its pictures; changes as of `small.glow_config`."""
    return small.config(
        "toy", small.TINY | {"data.name": "arrays", "data.path": str(data.path), "data.test_fraction": 0.2}, changes
    )
