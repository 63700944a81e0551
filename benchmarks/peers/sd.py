"""The UNet of Stable Diffusion, ours and that of `diffusers`, with the same weights: `python benchmarks/peers/sd.py`.

As `benchmarks/peers/adm.py`: first it is asserted that both are the same function (the network, 50 steps of DDIM with
guidance, a training step's loss and gradient), then both train, take one guided denoising step, and draw latents with
50 steps, in turns. Latents and what captions say are random arrays. `--size=v1` is Stable Diffusion 1 at 512x512
pixels, for a GPU. Needs PyTorch and diffusers (`pip install 'glowdiff[bench]'`).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.main import run_main
from benchmarks.peers.race import agree, compiled_peer, race, require_peers, rows, settle
from benchmarks.report import print_json, print_rows
from glowdiff.catalog.parse import defaults, parse
from glowdiff.cli.main import initialize
from glowdiff.config.sections import Config

# Arguments of the peer's constructor; the side of the latents, tokens of a caption, and latents at a time.
SIZES: dict[str, dict[str, Any]] = {
    "small": {"block_out_channels": (64, 128, 256, 256), "cross_attention_dim": 64, "side": 16, "batch": 4},
    "v1": {"block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 768, "side": 64, "batch": 4},
}
TOKENS = 77

_SIZE = flags.DEFINE_enum("size", "small", list(SIZES), "Which network.")
_BATCH = flags.DEFINE_integer("batch", None, "Latents at a time; default: the size's.", lower_bound=1)
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
    size = SIZES[_SIZE.value]
    batch = _BATCH.value or size["batch"]
    exact = ours(size, batch if dtype == "float32" else 1, "float32")
    threads, channels_last = settle(exact, _THREADS.value)
    agreement = agree(exact, exact.peer("float32", channels_last=channels_last, compiled=False))
    print_rows("Ours against diffusers, float32:", agreement)
    contestant = exact if dtype == "float32" else ours(size, batch, dtype)
    peers = {"eager": contestant.peer(dtype, channels_last=channels_last, compiled=False)}
    if _COMPILED.value:
        peers |= compiled_peer(contestant, dtype, channels_last)
    times = race({"ours": contestant, **peers}, _ROUNDS.value)
    facts = {
        "size": _SIZE.value, "batch": batch, "dtype": dtype, "device": jax.devices()[0].device_kind,
        "parameters": contestant.parameters, "torch threads": threads,
        "torch layout": "channels last" if channels_last else "channels first",
    }  # fmt: skip
    print_rows("In turns, median milliseconds; ratios are medians over the turns:", rows(times, {}))
    print(", ".join(f"{key}: {value}" for key, value in facts.items()))
    print_json({**facts, "agreement": agreement, "seconds": times})


def configuration(dtype: str) -> Config:
    """The process, the sampling and the training of Stable Diffusion 1; the network is told by the peer's."""
    settings = defaults("diffusion")
    settings.model.process.update(schedule="scaled_linear", timesteps=1000)
    settings.sampling.update(sampler="ddim", steps="50", spacing="leading", final="first", threshold="none")
    settings.train.update(ema_decay=0.9999, clip=None)
    settings.optimizer.learning_rate = 1e-4
    settings.dtype = dtype
    return parse(settings)


def ours(size: dict[str, Any], batch: int, dtype: str) -> Any:
    """Our side, on random latents."""
    import dataclasses

    import torch  # pyright: ignore[reportMissingImports]
    from diffusers import UNet2DConditionModel  # pyright: ignore[reportMissingImports]

    from benchmarks.peers.sd_ours import OursLatent

    torch.manual_seed(0)
    network = {name: value for name, value in size.items() if name not in ("side", "batch")}
    model = UNet2DConditionModel(sample_size=size["side"], attention_head_dim=8, **network)
    rng, width = np.random.default_rng(0), size["cross_attention_dim"]
    x_0 = rng.standard_normal((batch, size["side"], size["side"], 4), np.float32)
    text, free = (rng.standard_normal((batch, TOKENS, width), np.float32) for _ in range(2))
    config = configuration(dtype)
    config = dataclasses.replace(config, sampling=dataclasses.replace(config.sampling, guidance_scale=7.5))
    return OursLatent(config, model, x_0, text, free)


if __name__ == "__main__":
    run_main(main)
