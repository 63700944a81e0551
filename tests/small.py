"""Experiments small enough for tests, and what tests ask about them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from glowdiff.catalog.methods import build_method
from glowdiff.catalog.parse import defaults, override, parse, settings_of
from glowdiff.config.options import SampleOptions
from glowdiff.config.sections import Config, MeshConfig, ModelConfig
from glowdiff.data.holdout import held_out
from glowdiff.inference.model import Model
from glowdiff.method import Aux, Draws, Method, batch_shapes, example_keys
from glowdiff.sharding import make_mesh
from glowdiff.spec import DataSpec
from glowdiff.text import tokenizer as tokenizers
from glowdiff.text.tokenizer import Tokenizer
from glowdiff.trained import Trained, keep
from glowdiff.training.experiment import build
from glowdiff.workdir.checkpoint import Checkpoints
from glowdiff.workdir.checksum import key_data, leaves_by_path

ROOT = Path(__file__).parents[1]
TIMING = {"images_per_second", "data_wait", "time"}  # the fields of metrics.jsonl that two equal runs do not share
POISON, SPIKE = 16, 0  # toy pictures of this value all over make the gradient not a number, or enormous


# ---- Configurations.

TINY = {
    "model.init_images": 16,
    "train.steps": 4,
    "train.batch": 8,
    "train.log_every": 1,
    "train.checkpoint_every": 2,
    "eval.every": 2,
    "eval.images": 16,
    "eval.batch": 8,
    "pictures.every": 2,
    "pictures.images": 4,
}
TINY_GLOW = {"model.levels": 1, "model.depth": 2, "model.width": 8, "optimizer.name": "adamax"}

# Two residual blocks and an attention: what noise, guidance and sharding need.
TINY_UNET = {
    "model.process.schedule": "cosine", "model.process.timesteps": 20, "model.network.channels": 32,
    "model.network.channel_mult": "1", "model.network.res_blocks": 1, "model.network.attention": "",
}  # fmt: skip
TINY_DIFFUSION = {
    "model.process.variance": "learned", "model.loss": "hybrid", "model.class_conditional": True,
    "model.label_dropout": 0.2, "sampling.sampler": "ddim", "sampling.steps": "4", "train.ema_decay": 0.9,
}  # fmt: skip

TINY_TEXT = {
    "model.init_images": 1, "model.text.context": 32, "model.text.vocab_size": 300, "model.text.width": 16,
    "model.text.layers": 1, "model.text.heads": 2,
}  # fmt: skip
GUIDED = {
    "model.text.name": "glide", "model.caption_dropout": 0.2, "model.process.prediction": "v",
    "sampling.sampler": "ddim", "sampling.steps": "4", "sampling.guidance_scale": 3.0, "train.ema_decay": 0.9,
}  # fmt: skip
COLOURS = DataSpec("toy", (8, 8, 3), 256, 8, 8, captions=True)
CAPTIONS = ("a red heart", "flag of Japan", "a blue circle", "waving hand: dark skin tone")


def diffusion_config(**changes: Any) -> Config:
    """A class-conditional diffusion model of digits with learned variances; changes as of `glow_config`."""
    return config("diffusion", TINY | TINY_UNET | TINY_DIFFUSION | {"model.init_images": 1}, changes)


def classifier_config(**changes: Any) -> Config:
    """A classifier of noised digits, to guide that one; changes as of `glow_config`."""
    base = {"model.network.head_channels": 32, "model.network.updown": False, "model.init_images": 1}
    return config("classifier", TINY | TINY_UNET | base, changes)


def text_config(**changes: Any) -> Config:
    """A diffusion model that reads captions of colour pictures; its data are not there. Changes as of `glow_config`."""
    return config("diffusion", TINY | TINY_UNET | TINY_TEXT | GUIDED, changes)


def clip_config(**changes: Any) -> Config:
    """A CLIP of such pictures, to guide that one; changes as of `glow_config`."""
    base = {
        "model.process.timesteps": 20,
        "model.network.patch": 4,
        "model.network.width": 16,
        "model.network.heads": 2,
    }
    return config("clip", TINY | TINY_TEXT | base | {"model.network.layers": 1, "model.network.embedding": 8}, changes)


def untrained_workdir(path: Path, config: Config, spec: DataSpec) -> Path:
    """A workdir of an `untrained` model; if it reads captions, `CAPTIONS`."""
    captions = config.model.captions
    tokenizer = tokenizers.train(CAPTIONS, captions.vocab_size) if captions else None
    keep(untrained(config, spec, tokenizer, deviation=0.3).trained, path)
    return path


def glow_config(**changes: Any) -> Config:
    """A Glow on digits; changes are keys with `__` for the dots, such as `train__steps=3`."""
    return config("glow", TINY | TINY_GLOW, changes)


def toy_config(data: ToyData, **changes: Any) -> Config:
    """The toy on its pictures; changes as of `glow_config`."""
    return config(
        "toy", TINY | {"data.name": "arrays", "data.path": str(data.path), "data.test_fraction": 0.2}, changes
    )


def flags(changes: dict[str, Any]) -> list[str]:
    """Changes (`train__steps=3`) as flags of the commands."""
    return [f"--config.{key.replace('__', '.')}={value}" for key, value in changes.items()]


def replaced(config: Config, **changes: Any) -> Config:
    """A configuration with changes as of `glow_config`."""
    settings = settings_of(config)
    for key, value in changes.items():
        override(settings, key.replace("__", "."), str(value))
    return parse(settings)


def config(method: str, base: dict[str, Any], changes: dict[str, Any]) -> Config:
    values = base | {key.replace("__", "."): value for key, value in changes.items()}
    parts = {key.split(".")[1]: values.pop(key) for key in list(values) if re.fullmatch(r"model\.\w+\.name", key)}
    config = defaults(method, **parts)
    if parts.get("text") == "none":
        values = {key: value for key, value in values.items() if not key.startswith("model.text.")}
    for key, value in values.items():
        *sections, name = key.split(".")
        section = config
        for each in sections:
            section = section[each]
        setattr(section, name, value)
    return parse(config)


def untrained(config: Config, spec: DataSpec, tokenizer: Tokenizer | None = None, deviation: float = 0.1) -> Model:
    """A model of images of `spec` with random parameters: none is zero, so all that it is told makes a difference."""
    method = build_method(config, spec)
    shapes = jax.eval_shape(method.init, jax.random.key(0), batch_shapes(spec, 1, method.takes))
    rng = np.random.default_rng(0)
    random = lambda leaf: rng.normal(0, deviation, leaf.shape).astype(leaf.dtype)  # noqa: E731
    variables = jax.device_put(jax.tree.map(random, dict(shapes)))
    return Model(Trained(method, variables, config, spec, make_mesh(MeshConfig()), 0, tokenizer))


# ---- A method that compiles at once.


@dataclass(frozen=True)
class ToyConfig(ModelConfig):
    """The `model` section of the toy."""

    init_images: int = 8
    fail_from: int = -1  # good steps after which the loss is infinite for ever; -1: never
    teacher: str | None = None  # the workdir of another toy, whose mean picture is learnt instead

    def frozen(self) -> dict[str, str]:
        return {} if self.teacher is None else {"teacher": self.teacher}


class ToyData:
    """40 random pictures of 8x8 pixels and 17 levels, 32 of them to train on: four steps of eight see each once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        rng = np.random.default_rng(0)
        for count in range(34, 60):  # the hash decides how many are held out
            self.train = np.flatnonzero(~held_out([str(row) for row in range(count)], 0.2))
            if len(self.train) == 32:
                break
        assert len(self.train) == 32
        self.images = rng.integers(1, 16, (count, 8, 8, 1), dtype=np.uint8)
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

    def sample(variables: Any, key: Any, latents: jax.Array, cond: Any, options: SampleOptions) -> jax.Array:
        noisy = variables["params"]["mean"][None] + latents * options.temperature / 10
        return jnp.clip(jnp.round(noisy * 16), 0, 16).astype(jnp.uint8)

    def bits_per_dim(variables: Any, key: jax.Array, batch: Any) -> jax.Array:
        return jnp.mean((scaled(batch) - variables["params"]["mean"][None]) ** 2, axis=(1, 2, 3))

    return Method(init, loss, bits_per_dim=bits_per_dim, draws=Draws(latents, sample))


# ---- What a run left.


def once(name: str, make: Callable[[Path], object]) -> Path:
    """A folder that `make` fills when any process of this run of the tests first asks for it; all others wait.

    `name` says what it holds, for it is the same folder to all who give it. They only read it.
    """
    folder = Path(os.environ["GLOWDIFF_TESTS"]) / "made" / name
    made = folder.with_suffix(".made")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a try that failed
            folder.mkdir()
            make(folder)
            made.touch()
    return folder


def steps(workdir: epath.PathLike) -> list[int]:
    """The checkpoints of a workdir."""
    with Checkpoints(workdir) as checkpoints:
        return checkpoints.steps()


def state_of(config: Config, workdir: epath.PathLike, step: int | None = None) -> dict[str, bytes]:
    """Every array of a checkpoint (default the newest), as bytes."""
    with Checkpoints(workdir) as checkpoints:
        wanted = checkpoints.steps()[-1] if step is None else step
        return as_bytes(checkpoints.restore(wanted, build(config).abstract_state()._asdict()).state)


def as_bytes(state: Any) -> dict[str, bytes]:
    """Every array of a tree, as bytes by path."""
    return {path: np.asarray(key_data(leaf)).tobytes() for path, leaf in leaves_by_path(state).items()}


def log(workdir: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, without the fields that tell the time."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMING} for line in lines]


# ---- Processes and compilations.


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python ARGUMENTS` from the top of the repository to its end."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start `python ARGUMENTS` from the top of the repository."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def with_devices(count: int) -> dict[str, str]:
    """The environment of a process that sees `count` devices.

    Each of them holds one of XLA's threads while it waits in a collective, so there are more threads than devices: else
    none may be left for the work that they wait for.
    """
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={count}"
    return {"XLA_FLAGS": flags, "NPROC": str(3 * count)}


_compiled: list[float] = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: (
        _compiled.append(seconds) if event == "/jax/core/compile/backend_compile_duration" else None
    )
)


@contextlib.contextmanager
def compilations() -> Iterator[list[float]]:
    """Collect the seconds of every compilation within; one from the cache counts too."""
    before, found = len(_compiled), []
    yield found
    found.extend(_compiled[before:])
