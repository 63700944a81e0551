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
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath

from glowdiff.catalog.methods import build_method
from glowdiff.catalog.parse import defaults, override, parse, settings_of
from glowdiff.config.sections import Config, MeshConfig
from glowdiff.inference.model import Model
from glowdiff.method import batch_shapes
from glowdiff.sharding import make_mesh
from glowdiff.spec import DataSpec
from glowdiff.text import tokenizer as tokenizers
from glowdiff.text.tokenizer import Tokenizer
from glowdiff.trained import Trained, frozen, keep, keep_parts, parts_of
from glowdiff.training.experiment import build
from glowdiff.workdir.checkpoint import Checkpoints
from glowdiff.workdir.checksum import key_data, leaves_by_path

ROOT = Path(__file__).parents[1]
TIMING = {"images_per_second", "data_wait", "time"}  # the fields of metrics.jsonl that two equal runs do not share


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
# What reads captions as Stable Diffusion does; the tokenizer is trained on them.
CLIP_TEXT = {"model.text.name": "clip", "model.text.tokenizer": "bpe"}
DIGITS = DataSpec("digits", (8, 8, 1), 17, 8, 8, classes=tuple("0123456789"))
COLOURS = DataSpec("toy", (8, 8, 3), 256, 8, 8, captions=True)
CAPTIONS = ("a red heart", "flag of Japan", "a blue circle", "waving hand: dark skin tone")


def diffusion_config(**changes: Any) -> Config:
    """A class-conditional diffusion model of digits with learned variances; changes as of `glow_config`."""
    return config("diffusion", TINY | TINY_UNET | TINY_DIFFUSION | {"model.init_images": 1}, changes)


def latent_config(codec: Path | str, **changes: Any) -> Config:
    """A class-conditional diffusion model of digits in the latents of an autoencoder; changes as of `glow_config`."""
    base = {
        "model.init_images": 1, "model.codec.name": "autoencoder", "model.codec.workdir": str(codec),
        "model.class_conditional": True, "model.label_dropout": 0.2, "model.process.prediction": "v",
        "sampling.sampler": "ddim", "sampling.steps": "4",
    }  # fmt: skip
    return config("diffusion", TINY | TINY_UNET | base, changes)


def classifier_config(**changes: Any) -> Config:
    """A classifier of noised digits, to guide that one; changes as of `glow_config`."""
    base = {"model.network.head_channels": 32, "model.network.updown": False, "model.init_images": 1}
    return config("classifier", TINY | TINY_UNET | base, changes)


def text_config(**changes: Any) -> Config:
    """A diffusion model that reads captions of colour pictures; its data are not there. Changes as of `glow_config`."""
    return config("diffusion", TINY | TINY_UNET | TINY_TEXT | GUIDED, changes)


def sd_config(**changes: Any) -> Config:
    """As `text_config`, with the network and the text encoder of Stable Diffusion, trained along."""
    base = TINY | TINY_UNET | TINY_TEXT | GUIDED | CLIP_TEXT
    return config("diffusion", base | {"model.network.name": "ldm", "model.network.heads": 2}, changes)


def encoder_config(**changes: Any) -> Config:
    """A text encoder for `sd_config`; changes as of `glow_config`."""
    return config("text", TINY | TINY_TEXT | CLIP_TEXT, changes)


def clip_config(**changes: Any) -> Config:
    """A CLIP of such pictures, to guide that one; changes as of `glow_config`."""
    base = {
        "model.process.timesteps": 20,
        "model.network.patch": 4,
        "model.network.width": 16,
        "model.network.heads": 2,
    }
    return config("clip", TINY | TINY_TEXT | base | {"model.network.layers": 1, "model.network.embedding": 8}, changes)


def autoencoder_config(**changes: Any) -> Config:
    """An autoencoder of digits with a discriminator, to latents of 4x4x2 numbers; changes as of `glow_config`."""
    base = {
        "model.init_images": 1, "model.network.channels": 32, "model.network.channel_mult": "1,1",
        "model.network.res_blocks": 1, "model.network.middle_attention": False, "model.network.z_channels": 2,
        "model.bottleneck.channels": 2, "model.discriminator_weight": 0.5, "model.discriminator_channels": 8,
        "model.discriminator_layers": 1,
    }  # fmt: skip
    return config("autoencoder", TINY | base, changes)


def untrained_workdir(path: Path, config: Config, spec: DataSpec | None = None, deviation: float = 0.3) -> Path:
    """A workdir of an `untrained` model: of images of `spec`, and of `CAPTIONS` if it reads any; or of its own data."""
    if spec is None:
        experiment = build(config, path)
        spec, tokenizer = experiment.dataset.spec, experiment.tokenizer
    else:
        captions = config.model.captions
        tokenizer = tokenizers.train(CAPTIONS, captions.vocab_size) if captions else None
    keep_parts(config, path)
    keep(untrained(config, spec, tokenizer, deviation).trained, path)
    return path


def glow_config(**changes: Any) -> Config:
    """A Glow on digits; changes are keys with `__` for the dots, such as `train__steps=3`."""
    return config("glow", TINY | TINY_GLOW, changes)


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
    """A model of images of `spec` with random parameters: none is zero, so all that it is told makes a difference.

    Models that serve it are as they are in the workdirs that the configuration names.
    """
    parts = parts_of(config, None)
    method = build_method(config, spec, frozen=frozen(parts))
    shapes = jax.eval_shape(method.init, jax.random.key(0), batch_shapes(spec, 1, method.takes))
    rng = np.random.default_rng(0)

    def random(leaf: Any) -> np.ndarray:
        return rng.normal(0, deviation, leaf.shape).astype(leaf.dtype)

    variables = jax.device_put(jax.tree.map(random, dict(shapes)))
    if parts:
        variables["frozen"] = {name: part.variables for name, part in parts.items()}
    return Model(Trained(method, variables, config, spec, make_mesh(MeshConfig()), 0, tokenizer))


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
