"""PyTorch's own files through the importer: `python benchmarks/peers/adm_weights.py`.

The networks of tests/golden, whose outputs the original computed, are saved by PyTorch in the releases' format (.pt),
in float32 and in float16, and as .npz, imported by the command, and loaded like any workdir. From .pt and .npz the
arrays must be equal to the bit and the outputs the original's; a .pt with anything but arrays in it must be refused.
Needs PyTorch (`pip install 'glowdiff[import]'`; on a machine without a GPU, its CPU build will do).
"""

from __future__ import annotations

import collections
import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch  # pyright: ignore[reportMissingImports]

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import glowdiff
from benchmarks.main import run_main
from benchmarks.report import print_rows
from glowdiff.cli.import_ import main as importer
from glowdiff.cli.main import initialize
from tests.importers.golden import load_torch, network_output

NAMES = ("adm_unet_plain", "adm_unet_updown", "adm_superres", "adm_classifier_attention")
TOLERANCE = 1e-5


def imported(weights: Path, flags: dict[str, Any]) -> glowdiff.Model:
    """The model of a file, by way of a workdir."""
    workdir = weights.parent / f"run_{weights.name}"
    options = {"weights": weights, "flags": json.dumps(flags), "workdir": workdir, "data": "cifar10"}
    with contextlib.redirect_stdout(io.StringIO()):
        status = importer(["adm", *(f"--{name}={value}" for name, value in options.items())])
    if status:
        sys.exit(f"{weights.name} was not imported.")
    return glowdiff.load(workdir)


def equal(a: glowdiff.Model, b: glowdiff.Model) -> bool:
    """Whether all variables are."""
    pairs = zip(jax.tree.leaves(a.variables), jax.tree.leaves(b.variables), strict=True)
    return all(np.array_equal(one, other) for one, other in pairs)


def compare(name: str, folder: Path) -> dict[str, Any]:
    """A row of the table: one golden in all formats."""
    arrays, flags, weights = load_torch(name)
    flags |= {"small_size": 4} if name == "adm_superres" else {}
    state = collections.OrderedDict((key, torch.from_numpy(array)) for key, array in weights.items())
    half = collections.OrderedDict((key, tensor.half()) for key, tensor in state.items())
    torch.save(state, folder / f"{name}.pt")
    torch.save(half, folder / f"{name}_half.pt")
    np.savez(folder / f"{name}.npz", allow_pickle=False, **weights)
    np.savez(folder / f"{name}_half.npz", allow_pickle=False, **{key: tensor.numpy() for key, tensor in half.items()})
    models = [imported(folder / file, flags) for file in (f"{name}.pt", f"{name}.npz")]
    halves = [imported(folder / file, flags) for file in (f"{name}_half.pt", f"{name}_half.npz")]
    found, expected = network_output(models[0], arrays)
    return {
        "network": name,
        ".pt is .npz": equal(*models),
        "in float16": equal(*halves),
        "output - original's": float(np.abs(found - expected).max()),
    }


def refused(folder: Path) -> bool:
    """Whether a file that holds more than arrays is."""
    torch.save({"state": torch.zeros(3), "where": Path("anything")}, folder / "other.pt")
    with contextlib.redirect_stderr(io.StringIO()) as said:
        status = importer(
            ["adm", f"--weights={folder / 'other.pt'}", "--preset=64x64_diffusion", f"--workdir={folder / 'other'}"]
        )
    return status == 1 and "does not read as weights alone" in said.getvalue()


def main(argv: list[str]) -> None:
    """Compare, and fail if anything differs."""
    del argv
    initialize()
    with tempfile.TemporaryDirectory() as folder:
        rows = [compare(name, Path(folder)) for name in NAMES]
        safe = refused(Path(folder))
    print_rows("Through the importer, from .pt and from .npz", rows)
    print(f"a .pt that holds more than arrays is {'refused' if safe else 'NOT refused'} (PyTorch {torch.__version__})")
    good = all(row[".pt is .npz"] and row["in float16"] and row["output - original's"] < TOLERANCE for row in rows)
    if not (good and safe):
        sys.exit("they differ.")


if __name__ == "__main__":
    run_main(main)
