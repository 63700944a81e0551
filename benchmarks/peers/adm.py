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

import importlib.util
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.main import run_main
from benchmarks.peers.adm_ours import Ours
from benchmarks.report import print_json, print_rows
from glowdiff.catalog.parse import defaults, parse
from glowdiff.cli.main import initialize
from glowdiff.config.sections import Config
from glowdiff.errors import ConfigError

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
WORK = {"train": "training step", "denoise": "one denoising step", "sample": "50 steps of DDIM, images out"}

_SIZE = flags.DEFINE_enum("size", "small", list(SIZES), "Which network.")
_BATCH = flags.DEFINE_integer("batch", None, "Images at a time; default: the size's.", lower_bound=1)
_DTYPE = flags.DEFINE_enum("dtype", None, ["float32", "bfloat16"], "Default: bfloat16 on a GPU, else float32.")
_ROUNDS = flags.DEFINE_integer("rounds", 9, "Turns of each; a third as many for DDIM.", lower_bound=3)
_COMPILED = flags.DEFINE_bool("compiled", True, "torch.compile beside eager PyTorch.")
_THREADS = flags.DEFINE_integer("torch_threads", None, "Threads of PyTorch; default: what is fastest.", lower_bound=1)


def main(argv: list[str]) -> None:
    """Check, time, print."""
    del argv
    for package in ("torch", "diffusers"):
        if importlib.util.find_spec(package) is None:
            raise ConfigError(f"{package} is not installed: pip install 'glowdiff[bench]'.")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch needs memory of the GPU too
    initialize()
    dtype = _DTYPE.value or ("float32" if jax.default_backend() == "cpu" else "bfloat16")
    config = configuration(_SIZE.value, _BATCH.value, dtype)
    exact = Ours(config if dtype == "float32" else configuration(_SIZE.value, 8, "float32"))
    threads, channels_last = settle(exact)
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


def settle(ours: Ours) -> tuple[int, bool]:
    """The threads and the layout with which PyTorch is fastest; its threads are set so."""
    import torch  # pyright: ignore[reportMissingImports]

    if torch.cuda.is_available():
        return torch.get_num_threads(), True
    counts = [_THREADS.value] if _THREADS.value else sorted({1, len(os.sched_getaffinity(0))})
    models = {layout: ours.peer("float32", channels_last=layout, compiled=False) for layout in (False, True)}
    seconds: dict[tuple[int, bool], list[float]] = {}
    for _, threads, layout in itertools.product(range(5), counts, models):
        torch.set_num_threads(threads)
        took = _seconds(models[layout].train, 1) + _seconds(models[layout].denoise, 2)
        seconds.setdefault((threads, layout), []).append(took)
    # The mean: on a busy machine threads that wait for each other are slow now and then, and then very slow.
    threads, layout = min(seconds, key=lambda choice: statistics.mean(seconds[choice][1:]))
    torch.set_num_threads(threads)
    return threads, layout


def agree(ours: Ours, peer: Any) -> list[dict[str, Any]]:
    """Rows that say how far they are apart.

    Raises:
      RuntimeError: they are not the same function.
    """
    import torch  # pyright: ignore[reportMissingImports]

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    x, t = ours.noise(), jnp.linspace(0, 999, len(ours.images)).round()
    with jax.default_matmul_precision("highest"):
        mine = np.asarray(ours.output(x, t)), np.asarray(ours.samples_from(x))
        step_t, noise, loss, norm = ours.loss_and_norm()
    theirs = peer.output(np.asarray(x), np.asarray(t)), peer.samples_from(np.asarray(x))
    peer_loss, peer_norm = peer.loss_and_norm(np.asarray(step_t), np.asarray(noise))
    found = [
        ("network's output, largest difference", np.abs(mine[0] - theirs[0]).max(), 1e-4, np.std(mine[0])),
        ("50 steps of DDIM, largest difference", np.abs(mine[1] - theirs[1]).max(), 1e-3, np.std(mine[1])),
        ("training step's loss, relative", abs(loss - peer_loss) / peer_loss, 1e-4, loss),
        ("norm of its gradient, relative", abs(norm - peer_norm) / peer_norm, 1e-3, norm),
    ]
    for name, difference, bound, _ in found:
        if not difference < bound:
            raise RuntimeError(f"{name}: {difference:.3g} is above {bound:g}, so these are not the same function.")
    return [
        {"": name, "difference": f"{difference:.1e}", "bound": f"{bound:g}", "value (deviation)": f"{size:.4g}"}
        for name, difference, bound, size in found
    ]


def compiled_peer(ours: Ours, dtype: str, channels_last: bool) -> dict[str, Any]:
    """The peer under `torch.compile`; nothing, and a line that says why, where that does not work."""
    try:
        peer = ours.peer(dtype, channels_last=channels_last, compiled=True)
        start = time.perf_counter()
        for work in WORK:
            getattr(peer, work)(1)
    except Exception as error:  # whatever the compiler behind it may raise
        print(f"torch.compile does not work here: {str(error).strip().splitlines()[0]}")
        return {}
    print(f"torch.compile took {time.perf_counter() - start:.0f} s.")
    return {"compiled": peer}


def race(contestants: dict[str, Any], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of each piece of work in every turn, by work and contestant."""
    times: dict[str, dict[str, list[float]]] = {}
    for work in WORK:
        calls = {name: getattr(contestant, work) for name, contestant in contestants.items()}
        for call in calls.values():
            call(1)
        slowest = max(_seconds(call, 1) for call in calls.values())
        block = 1 if work == "sample" else max(1, min(20, round(1.0 / slowest)))
        times[work] = {name: [] for name in contestants}
        for _ in range(max(3, rounds // 3) if work == "sample" else rounds):
            for name, call in calls.items():
                times[work][name].append(_seconds(call, block))
    return times


def _seconds(call: Callable[[int], None], count: int) -> float:
    start = time.perf_counter()
    call(count)
    return (time.perf_counter() - start) / count


def rows(times: dict[str, dict[str, list[float]]], bare: dict[str, Any]) -> list[dict[str, Any]]:
    """The table: ours, the peers, and ours over each."""
    peers = [name for name in times["train"] if name != "ours"]
    table = []
    for work, seconds in times.items():
        row = {"": WORK[work], "ours": f"{1e3 * statistics.median(seconds['ours']):,.1f}"}
        for peer in peers:
            row[f"PyTorch {peer}"] = f"{1e3 * statistics.median(seconds[peer]):,.1f}"
        for peer in peers:
            ratio = statistics.median(a / b for a, b in zip(seconds["ours"], seconds[peer], strict=True))
            row[f"ratio to {peer}"] = f"{ratio:.2f}"
        table.append(row)
    for name, (mine, theirs) in bare.items():
        row = {"": f"its bare 3x3 convolutions, {name}", "ours": f"{mine:,.1f}", "PyTorch eager": f"{theirs:,.1f}"}
        row |= {f"PyTorch {peer}": "" for peer in peers[1:]} | {"ratio to eager": f"{mine / theirs:.2f}"}
        table.append(row | {f"ratio to {peer}": "" for peer in peers[1:]})
    return table


if __name__ == "__main__":
    run_main(main)
