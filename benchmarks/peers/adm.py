"""Our UNet and the one of `diffusers`, as the same function with the same weights: `python benchmarks/peers/adm.py`.

First it is asserted that both compute the same: the network, 50 steps of DDIM, a training step's loss and gradient.
Then both train, take one denoising step and draw images with 50 steps, block by block in turns, so that whatever else
the machine does slows both; a ratio is the median over the rounds. PyTorch runs eagerly and under `torch.compile`, with
the threads and the layout that suit it best here. Beside them stand the bare 3x3 convolutions of the same network,
which are what each framework is left with; a convolution of 2x2 pixels, which ours does otherwise, is among them. Needs
PyTorch and diffusers (`pip install 'glowdiff[bench]'`). On a machine that others use, `taskset -c 0` gives both one
core, and a figure that does not depend on who waits for whom.
"""

from __future__ import annotations

import os
import statistics
import sys
from pathlib import Path
from typing import Any

import jax
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.main import run_main
from benchmarks.peers.adm_ours import Ours
from benchmarks.peers.race import agree, compiled_peer, race, require_peers, rows, settle
from benchmarks.report import print_json, print_rows
from glowdiff.catalog.parse import defaults, parse
from glowdiff.cli.main import initialize
from glowdiff.config.sections import Config

SIZES: dict[str, dict[str, Any]] = {
    # configs/ddpm/digits.py, in three colours, without labels and without dropout
    "digits": {
        "image": 8, "batch": 64, "channels": 32, "channel_mult": "1,2,2", "res_blocks": 1, "attention": "4",
        "head_channels": 16, "updown": False,
    },
    "small": {
        "image": 32, "batch": 8, "channels": 64, "channel_mult": "1,2,2", "res_blocks": 1, "attention": "16",
        "head_channels": 32, "updown": True,
    },
    # configs/adm/imagenet64.py, without its learned variance, which diffusers does not train, and without dropout
    "adm64": {
        "image": 64, "batch": 64, "channels": 192, "channel_mult": "1,2,3,4", "res_blocks": 3, "attention": "32,16,8",
        "head_channels": 64, "updown": True, "new_attention_order": True, "class_conditional": True,
    },
}  # fmt: skip
DATA = {8: "cifar10", 32: "cifar10", 64: "imagenet2012"}  # random images in the shape of these

_SIZE = flags.DEFINE_enum("size", "small", list(SIZES), "Which network.")
_BATCH = flags.DEFINE_integer("batch", None, "Images at a time; default: the size's.", lower_bound=1)
_DTYPE = flags.DEFINE_enum("dtype", None, ["float32", "bfloat16"], "Default: bfloat16 on a GPU, else float32.")
_ROUNDS = flags.DEFINE_integer("rounds", 9, "Turns of each; a third as many for DDIM.", lower_bound=3)
_COMPILED = flags.DEFINE_bool("compiled", True, "torch.compile beside eager PyTorch.")
_THREADS = flags.DEFINE_integer("torch_threads", None, "Threads of PyTorch; default: what is fastest.", lower_bound=1)


def main(argv: list[str]) -> None:
    """Check, time, print."""
    del argv
    require_peers()
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch needs memory of the GPU too
    initialize()
    dtype = _DTYPE.value or ("float32" if jax.default_backend() == "cpu" else "bfloat16")
    config = configuration(_SIZE.value, _BATCH.value, dtype)
    exact = Ours(config if dtype == "float32" else configuration(_SIZE.value, 8, "float32"))
    threads, channels_last = settle(exact, _THREADS.value)
    agreement = agree(exact, exact.peer("float32", channels_last=channels_last, compiled=False))
    print_rows("Ours against diffusers, float32:", agreement)
    ours = exact if dtype == "float32" else Ours(config)
    peers = {"eager": ours.peer(dtype, channels_last=channels_last, compiled=False)}
    shapes = peers["eager"].convolutions()
    if _COMPILED.value:
        peers |= compiled_peer(ours, dtype, channels_last)
    times = race({"ours": ours, **peers}, _ROUNDS.value)
    from benchmarks.peers.convolutions import compare

    bare = compare(shapes, config.train.batch, dtype, channels_last=channels_last, rounds=_ROUNDS.value)
    facts = {
        "size": _SIZE.value,
        "batch": config.train.batch,
        "dtype": dtype,
        "device": jax.devices()[0].device_kind,
        "parameters": ours.parameters,
        "torch threads": threads,
        "torch layout": "channels last" if channels_last else "channels first",
    }
    print_rows("In turns, median milliseconds; ratios are medians over the turns:", rows(times, bare))
    print(", ".join(f"{key}: {value}" for key, value in facts.items()))
    utilisation = ours.utilisation(statistics.median(times["train"]["ours"]), dtype)
    print(", ".join(f"{key}: {value:.4g}" for key, value in utilisation.items()))
    print_json({**facts, **utilisation, "agreement": agreement, "seconds": times, "bare convolutions, ms": bare})


def configuration(size: str, batch: int | None, dtype: str) -> Config:
    """The configuration of a size: the noise and the loss of DDPM, which both libraries have."""
    settings = defaults("diffusion")
    network = dict(SIZES[size])
    image, usual = network.pop("image"), network.pop("batch")
    settings.data.update(name=DATA[image], size=image)
    settings.model.class_conditional = network.pop("class_conditional", False)
    settings.model.process.update(schedule="linear", timesteps=1000)
    settings.model.network.update(network)
    settings.train.update(batch=batch or usual, ema_decay=0.9999)
    settings.sampling.update(sampler="ddim", steps="ddim50")
    settings.pictures.images = batch or usual
    settings.dtype = dtype
    return parse(settings)


if __name__ == "__main__":
    run_main(main)
